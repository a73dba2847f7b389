"""tracefs: where it is mounted, and what it lists: traceable functions, events, their formats, the trace pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from trapline.errors import KernelError, NoSuchProbeError, PrivilegeError, TargetError
from trapline.hints import TYPE_CHECKING
from trapline.syscall.privilege import lockdown_mode

if TYPE_CHECKING:
    from trapline.abi.tracepoint import TracepointFormat

MOUNT_POINTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
MOUNT_HINT = "mount it: mount -t tracefs tracefs /sys/kernel/tracing"
_READ_SIZE = 1 << 16


@cache
def _find(points: tuple[str, ...]) -> str:
    denied = False
    for point in points:
        try:
            if os.path.exists(f"{point}/events"):
                return point
            os.listdir(point)
        except PermissionError:
            denied = True
        except OSError:
            continue
    if denied:
        raise PrivilegeError("tracefs is not readable for this user", hint="run as root")
    if lockdown_mode() == "confidentiality":  # then the kernel shows an empty tracefs
        raise PrivilegeError(
            "tracefs is not available: the kernel is locked down (mode confidentiality)",
            hint="boot without lockdown=confidentiality; secure boot may have turned it on",
        )
    raise TargetError("tracefs is not mounted", hint=MOUNT_HINT)


def tracefs_path() -> str:
    """Return the directory where tracefs is mounted.

    Raises:
        TargetError: it is not mounted; the hint says how to.
        PrivilegeError: it is mounted, but not readable.
    """
    return _find(MOUNT_POINTS)


def _read(name: str) -> str:
    path = f"{tracefs_path()}/{name}"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except PermissionError:
        mode = lockdown_mode()
        if mode not in (None, "none") and os.geteuid() == 0:
            raise PrivilegeError(
                f"cannot read {path}: the kernel is locked down (mode {mode})", hint="boot without lockdown"
            ) from None
        raise PrivilegeError(f"cannot read {path}", hint="run as root") from None


def read_dynamic_events() -> str:
    """Return the events that were made by hand (``p:kprobes/mine do_nanosleep``), a line each; nothing if unknown.

    Needs Linux 5.0.
    """
    try:
        return _read("dynamic_events")
    except (TargetError, OSError):
        return ""


def read_functions_by_module(path: str = "") -> dict[str, list[str]]:
    """Return the functions that ftrace can trace, by module; the kernel proper is ``""``.

    Args:
        path: read them from here instead of from the kernel; a file in the form of ``available_filter_functions``.

    Raises:
        TargetError: no tracefs, a kernel without ftrace's list, or a `path` that cannot be read.
    """
    if path:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError as error:
            raise TargetError(f"cannot read the traceable functions from '{path}': {error.strerror}") from None
    else:
        try:
            text = _read("available_filter_functions")
        except FileNotFoundError:
            raise TargetError(
                "this kernel does not list traceable functions", hint="needs CONFIG_DYNAMIC_FTRACE"
            ) from None
    # There are tens of thousands, nearly all of the kernel proper: those are not looked at one by one.
    lines = text.splitlines()
    found = {"": [line for line in lines if " " not in line]}
    if len(found[""]) < len(lines):
        for line in lines:
            name, _, module = line.partition(" ")
            if module:
                found.setdefault(module.strip(" []\t"), []).append(name)
    return found


def read_filter_functions(path: str = "") -> list[tuple[str, str]]:
    """Return (name, module) of what `read_functions_by_module` does."""
    return [(name, module) for module, names in read_functions_by_module(path).items() for name in names]


def read_events() -> list[tuple[str, str]]:
    """Return the (category, name) of all tracepoints, in the kernel's order."""
    return [(c, n) for c, _, n in (line.partition(":") for line in _read("available_events").splitlines()) if n]


def read_event_format(category: str, name: str) -> TracepointFormat:
    """Return the fields of tracepoint `category`:`name`.

    Raises:
        NoSuchProbeError: there is no such tracepoint.
        TargetError: no tracefs.
    """
    from trapline.abi.tracepoint import parse_tracepoint_format

    if "/" in category or "/" in name or not category or not name:
        raise NoSuchProbeError(f"tracepoint {category}:{name} does not exist")
    try:
        return parse_tracepoint_format(_read(f"events/{category}/{name}/format"))
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchProbeError(f"tracepoint {category}:{name} does not exist") from None


def read_event_id(category: str, name: str) -> int | None:
    """Return the number of a tracepoint for perf_event_open(2), or ``None`` when there is no such tracepoint."""
    if "/" in category or "/" in name or not category or not name:
        return None
    try:
        return int(_read(f"events/{category}/{name}/id"))
    except (FileNotFoundError, NotADirectoryError):
        return None


class TracePipe:
    """Reader of ``trace_pipe``: what ``bpf_trace_printk`` writes; reading removes it.

    Every wait has a bound, and `wake_fd` (when given) ends a wait early.
    """

    def __init__(self) -> None:
        path = f"{tracefs_path()}/trace_pipe"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            raise PrivilegeError(f"cannot read {path}", hint="run as root") from None
        except OSError as error:
            raise KernelError(f"cannot open {path}: {error.strerror}", errno=error.errno or 0) from None
        self._rest = b""

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._fd

    def read_lines(self, timeout: float, wake_fd: int = -1) -> list[str]:
        """Return the complete lines that are there, waiting at most `timeout` seconds for the first.

        Args:
            timeout: seconds; 0 does not wait.
            wake_fd: when this descriptor becomes readable the wait ends with what there is.
        """
        if self._fd < 0:
            raise KernelError("trace_pipe is closed")
        import select

        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if wake_fd >= 0:
            poller.register(wake_fd, select.POLLIN)
        lines = self._drain()
        if not lines and timeout > 0:
            poller.poll(timeout * 1000)
            lines = self._drain()
        return lines

    def _drain(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                data = os.read(self._fd, _READ_SIZE)
            except (BlockingIOError, InterruptedError):
                break
            if not data:
                break
            *complete, self._rest = (self._rest + data).split(b"\n")
            lines.extend(line.decode(errors="replace") for line in complete)
            if len(data) < _READ_SIZE // 2 and lines:
                break
        return lines

    def lines(self, timeout: float = 0.2) -> Iterator[str]:
        """Yield lines until nothing comes for `timeout` seconds."""
        while lines := self.read_lines(timeout):
            yield from lines

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> TracePipe:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
