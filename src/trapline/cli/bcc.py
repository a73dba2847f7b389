"""``trapline bcc SCRIPT.py``: run an unmodified BCC script.

The script owns the process from here on: its signals, its standard streams, its exit code.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run a BCC script.

    Args:
        arguments: what follows ``bcc`` on the command line: the script and its arguments.

    Returns:
        The exit code when the script ends normally.  Its exceptions (`SystemExit`, `KeyboardInterrupt`, errors)
        propagate: the caller must not catch them, so that the interpreter ends as under ``python script.py``.
    """
    from trapline.bcc.runner import main as run

    return run(arguments)
