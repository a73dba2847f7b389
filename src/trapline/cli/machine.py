"""``--no-feature`` and ``--traceable-functions``: what the command line changes about the machine."""

from __future__ import annotations

import os

from trapline.cli.options import UsageError
from trapline.errors import TraplineError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.cli.options import Arguments

_OPTIONAL = ("kprobe_multi", "kprobe_session", "uprobe_multi")


def restrict_machine(found: Arguments) -> None:
    """Make the running kernel look as the options ask for.

    Raises:
        UsageError: a feature that cannot be done without.
        TraplineError: the file cannot be read.
    """
    from trapline.api import live_target

    for feature in found.without:
        if feature not in _OPTIONAL:
            raise UsageError(f"--no-feature: no feature '{feature}'", hint=f"features are {', '.join(_OPTIONAL)}")
    target = live_target()
    target.without = frozenset(found.without)
    if found.probe_filter is not None:
        target.without |= {"kprobe_session"}  # the filter may want one of the two only
    if found.traceable_functions:
        if not os.access(found.traceable_functions, os.R_OK):
            raise TraplineError(f"cannot read '{found.traceable_functions}' (--traceable-functions)")
        target.traceable_file = found.traceable_functions
    if found.debuginfo is not None:
        target.user_files.set_debug_dirs(found.debuginfo)
