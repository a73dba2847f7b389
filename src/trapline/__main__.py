"""``python -m trapline``."""

import sys

from trapline.cli import main

if __name__ == "__main__":
    sys.exit(main())
