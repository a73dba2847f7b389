"""Run the script of this interpreter with ``python -m trapline.bcc`` instead: what a shell script starts is BCC's, too.

Any Python may import this, at its start.
"""

import os
import sys

_VARIABLES = ("TRAPLINE_BCC_PYTHON", "TRAPLINE_BCC_PYTHONPATH")


def hand_over() -> None:
    """Replace this process, if it is to run a file."""
    interpreter, search = (os.environ.get(name, "") for name in _VARIABLES)
    words = getattr(sys, "orig_argv", [])[1:]
    if not interpreter or not words or words[0].startswith("-"):
        return  # python -c, -m and the like are no scripts
    for name in _VARIABLES:
        os.environ.pop(name, None)
    os.environ["PYTHONPATH"] = search
    if not search:
        del os.environ["PYTHONPATH"]
    os.execv(interpreter, [interpreter, "-m", "trapline.bcc", *words])


hand_over()
