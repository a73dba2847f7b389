"""The command line: ``python -m tools.guest``."""

import sys

from tools.guest.cli import main

sys.exit(main())
