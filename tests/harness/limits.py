"""How long tests wait: a guest is emulated, 15 to 25 times slower than the machine."""

from __future__ import annotations

import os

TIME_SCALE = float(os.environ.get("TRAPLINE_TIME_SCALE") or (8 if os.environ.get("TRAPLINE_GUEST") else 1))


def scaled(seconds: float) -> float:
    """Return how long to wait here for what takes up to so many seconds on an idle machine.

    Use it for every bound in a kernel test: ``subprocess.run(…, timeout=scaled(20))``.
    """
    return seconds * TIME_SCALE
