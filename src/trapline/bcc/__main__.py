"""``python -m trapline.bcc SCRIPT.py``: run a BCC script."""

import sys

from trapline.bcc.runner import main

if __name__ == "__main__":
    sys.exit(main())
