"""trapline as pip installs it, for the benchmarks.

In a checkout it looks at each start at the age of its own 300 modules, which nobody pays for who has installed it, and
half a second of each start in a guest.
"""

from __future__ import annotations

import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PACKAGES = REPO / "build" / "bench" / "site-packages"  # what is below a folder of such a name counts as installed


def install() -> None:
    """Put the package there as it is now: what a wheel of it has."""
    target = PACKAGES / "trapline"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(REPO / "src" / "trapline", target, ignore=shutil.ignore_patterns("__pycache__"))
