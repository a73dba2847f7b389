"""The few functions of libbcc that scripts call directly (``bcc.libbcc`` of the scripts, or ``bcc.lib``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from trapline.bcc.failures import NotOfferedError
from trapline.bcc.names import Name
from trapline.engine import network
from trapline.errors import TraplineError


class Library:
    """Stands for the shared library: functions return 0 or what is asked for, and a negative number for a failure."""

    def bpf_table_fd(self, module: Any, name: Name) -> int:
        """Return the descriptor of a table of ``BPF.module``; -1 if there is none."""
        try:
            return int(module[name].map_fd)
        except KeyError:
            return -1

    def bpf_prog_attach(self, prog_fd: int, target_fd: int, attach_type: int, flags: int) -> int:
        """Attach a program to a cgroup or a socket map."""
        return _result(lambda: network.attach_to_object(prog_fd, target_fd, attach_type, flags))

    def bpf_prog_detach2(self, prog_fd: int, target_fd: int, attach_type: int) -> int:
        """Undo `bpf_prog_attach`."""
        return _result(lambda: network.detach_from_object(prog_fd, target_fd, attach_type))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotOfferedError(
            f"there is no libbcc, and so no {name}()", hint="use the methods of BPF and of its tables instead"
        )


def _result(call: Callable[[], None]) -> int:
    try:
        call()
    except TraplineError as error:
        return -(getattr(error, "errno", 0) or 1)
    return 0


lib = Library()
