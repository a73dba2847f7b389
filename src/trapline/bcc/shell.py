"""Shell scripts around BCC scripts: ``javacalls`` is ``exec ucalls -l java "$@"``.

The shell runs as ever. The Python scripts that it starts find `trapline.bcc.children` on their path, which hands them
over to ``python -m trapline.bcc``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec


def other_interpreter(text: bytes) -> list[str] | None:
    """Return the words of a script's ``#!`` line, ``None`` when there is none or it names Python."""
    first = text.split(b"\n", 1)[0]
    if not first.startswith(b"#!"):
        return None
    words = os.fsdecode(first[2:]).split(None, 1)
    if not words or "python" in " ".join(words):
        return None
    return [word.strip() for word in words]


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which Python scripts are handed over to this interpreter's trapline."""
    spec = find_spec("trapline.bcc.children")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    before = environment.get("PYTHONPATH", "")
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join([*places, before] if before else places),
        "TRAPLINE_BCC_PYTHON": sys.executable,
        "TRAPLINE_BCC_PYTHONPATH": before,
    }


def run_shell_script(interpreter: Sequence[str], arguments: Sequence[str]) -> None:
    """Replace this process by a script's own interpreter.

    Args:
        interpreter: the words of its ``#!`` line.
        arguments: the script's path and its arguments.

    Raises:
        OSError: there is no such interpreter.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(interpreter[0], [*interpreter, *arguments], child_environment(os.environ))
