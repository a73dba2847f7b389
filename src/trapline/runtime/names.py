"""Numbers → names for whoever shows values: symbols, stacks, users, times, cgroups, probes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from trapline.runtime.objects import Stack
from trapline.runtime.symbols import Frame, KernelSymbols, Symbol, UserSymbols

_NANO = 1_000_000_000
_CLOCK_TAI = 11  # time.CLOCK_TAI is missing where Python was built without it


class Names:
    """The real `trapline.runtime.objects.Namer`.

    Args:
        kernel: kernel symbols, or ``None``: addresses stay numbers.
        user: user symbols, or ``None``.
        probe_names: the object's ``probe_names``.
        boot_offset: nanoseconds from CLOCK_BOOTTIME to the wall clock; measured when ``None``.
        root: where ``/etc``, ``/proc`` and ``/sys`` are.
    """

    def __init__(
        self,
        *,
        kernel: KernelSymbols | None = None,
        user: UserSymbols | None = None,
        probe_names: Sequence[str] = (),
        boot_offset: int | None = None,
        root: str = "",
    ) -> None:
        self._kernel = kernel
        self._user = user
        self._probe_names = probe_names
        self._boot_offset = boot_offset
        self._root = root
        self._users: dict[int, str] | None = None
        self._cgroups: dict[int, str] = {}

    def kernel_symbol(self, address: int, *, offset: bool = False) -> str:
        """Return ``symbol`` or ``symbol+offset`` of a kernel address; the number where no symbol covers it."""
        return _symbol_text(self._kernel.find(address) if self._kernel else None, address, offset)

    def user_symbol(self, address: int, pid: int, *, offset: bool = False) -> str:
        """Return ``symbol`` or ``symbol+offset`` of a user address of process `pid`."""
        return _symbol_text(self._user.find(address, pid) if self._user else None, address, offset)

    def stack_text(self, stack: Stack) -> str:
        """Return the lines of a stack as bpftrace shows them: a newline, then a line per frame."""
        lines = [""]
        for index, address in enumerate(stack.addresses):
            if stack.build_ids and stack.build_ids[index]:
                lines.append(f"{stack.build_ids[index]} 0x{address:x}")
                continue
            if stack.mode in ("raw", "build_id"):
                lines.append(f"{address:x}")
                continue
            if not stack.kernel and self._user is not None:
                lines += _frame_lines(self._user.frames(address, stack.pid, caller=index > 0), address, stack.mode)
                continue
            symbol = self._kernel.find(address) if stack.kernel and self._kernel else None
            text = _symbol_text(symbol, address, True)
            if stack.mode == "perf":
                module = "" if stack.kernel else f" ({symbol.module if symbol else '[unknown]'})"
                lines.append(f"\t{address:x} {text}{module}")
            else:
                lines.append(f"        {text}")
        return "\n".join(lines) + "\n"

    def username(self, uid: int) -> str:
        """Return the name of user `uid` in ``/etc/passwd``, or an empty string."""
        if self._users is None:
            self._users = _read_users(f"{self._root}/etc/passwd")
        return self._users.get(uid & 0xFFFFFFFF, "")

    def wall_clock(self, nanoseconds: int, clock: str = "boot") -> int:
        """Return a reading of `clock` (``boot``, ``monotonic``, ``tai`` or ``sw_tai``) as nanoseconds since 1970."""
        if clock == "boot":
            if self._boot_offset is None:
                self._boot_offset = _clock_offset(time.CLOCK_BOOTTIME)
            return nanoseconds + self._boot_offset
        return nanoseconds + _clock_offset(time.CLOCK_MONOTONIC if clock == "monotonic" else _CLOCK_TAI)

    def timestamp(self, nanoseconds: int, format: str, clock: str) -> str:
        """Return a reading of `clock` as local time: strftime's format, and ``%f`` µs, ``%l`` ms, ``%k`` ns."""
        return format_time(self.wall_clock(nanoseconds, clock), format)

    def cgroup_path(self, identifier: int) -> str:
        """Return ``unified:PATH`` of the cgroup-v2 directory with this inode number; empty when there is none."""
        if identifier not in self._cgroups:
            self._cgroups[identifier] = _find_cgroup(f"{self._root}/sys/fs/cgroup", identifier)
        return self._cgroups[identifier]

    def probe_name(self, index: int) -> str:
        """Return the probe's name; the index as text where the object has none."""
        return self._probe_names[index] if index < len(self._probe_names) else str(index)


def format_time(nanoseconds: int, format: str) -> str:
    """Return local time as text.

    Args:
        nanoseconds: since 1970.
        format: strftime's, where ``%f`` is microseconds (6 digits), ``%l`` milliseconds (3), ``%k`` nanoseconds (9).
    """
    seconds, rest = divmod(nanoseconds, _NANO)
    for code, digits in (("%f", f"{rest // 1000:06}"), ("%k", f"{rest:09}"), ("%l", f"{rest // 1_000_000:03}")):
        if code in format:
            format = format.replace(code, digits)
    return time.strftime(format, time.localtime(seconds))


def _frame_lines(frames: Sequence[Frame], address: int, mode: str) -> list[str]:
    """Return the lines that an address of a user stack makes, as bpftrace with blazesym shows them."""
    if not frames:
        return [f"\t{address:x} {_number(address)} ([unknown])" if mode == "perf" else f"        {_number(address)}"]
    lines = []
    for frame in frames:
        name = frame.name if frame.inlined else f"{frame.name}+{frame.offset}"
        if mode == "perf":
            lines.append(f"\t{address:x} {name} ({'inlined' if frame.inlined else frame.module})")
        else:
            place = f"@{frame.path}:{frame.line}" if frame.path else ""
            lines.append(f"        {'[inlined] ' if frame.inlined else ''}{name}{place}")
    return lines


def _number(address: int) -> str:
    return hex(address) if address else "0"


def _symbol_text(symbol: Symbol | None, address: int, offset: bool) -> str:
    if symbol is None:
        return hex(address) if address else "0"
    return f"{symbol.name}+{symbol.offset}" if offset else symbol.name


def _clock_offset(clock: int) -> int:
    """Return wall clock minus `clock`: of several readings, the one with the least time in between."""
    best: tuple[int, int] | None = None
    for _ in range(5):
        before = time.clock_gettime_ns(clock)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(clock)
        reading = (after - before, wall - (before + after) // 2)
        if best is None or reading < best:
            best = reading
    assert best is not None
    return best[1]


def _read_users(path: str) -> dict[int, str]:
    users: dict[int, str] = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                parts = line.split(":")
                if len(parts) >= 3 and parts[2].isdigit():
                    users.setdefault(int(parts[2]), parts[0])
    except OSError:
        pass
    return users


def _find_cgroup(root: str, identifier: int) -> str:
    unified = os.path.join(root, "unified")
    if os.path.isdir(unified):
        root = unified
    for directory, _, _ in os.walk(root):
        try:
            if os.stat(directory).st_ino == identifier:
                return "unified:" + (directory[len(root) :] or "/")
        except OSError:
            continue
    return ""
