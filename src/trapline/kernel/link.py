"""Links: what keeps a program attached; closing the link detaches it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from trapline.abi import bpf as abi
from trapline.errors import KernelError
from trapline.ir.spec import AttachPoint
from trapline.kernel.program import Program
from trapline.records import record
from trapline.syscall import bpf
from trapline.syscall.fd import Fd, close_all

# struct bpf_link_info: offsets of what is read here.
_INFO_SIZE = 80
_MULTI_MISSED = 32
_PERF_TYPE = 16
_PERF_KPROBE_MISSED = 48


@record(frozen=True)
class SkippedProbe:
    """A function of a wildcard that could not be attached, and why."""

    symbol: str
    reason: str


class Link:
    """An attached program; everything that it holds ends with `close`, or with the process.

    Args:
        point: where it is attached.
        program: what is attached.
        perf_fds: perf events that it holds.
        link_fds: BPF links that it holds.
        skipped: functions of a wildcard that could not be attached.
        warnings: what the user should know, a line each.
    """

    def __init__(
        self,
        point: AttachPoint,
        program: Program,
        *,
        perf_fds: list[Fd] | None = None,
        link_fds: list[Fd] | None = None,
        skipped: tuple[SkippedProbe, ...] = (),
        warnings: tuple[str, ...] = (),
        count: int | None = None,
    ) -> None:
        self.point = point
        self.label = point.label
        self.program = program
        self.skipped = skipped
        self.warnings = warnings
        self._perf = perf_fds or []
        self._links = link_fds or []
        self._closed = False
        self.count = max(len(self._links), len(self._perf)) if count is None else count

    @property
    def link_fds(self) -> tuple[int, ...]:
        """Descriptors of its BPF links."""
        return tuple(f.fileno() for f in self._links)

    @property
    def perf_fds(self) -> tuple[int, ...]:
        """Descriptors of its perf events."""
        return tuple(f.fileno() for f in self._perf)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def missed(self) -> int | None:
        """Return how many hits the kernel dropped here, as far as its link tells; ``None`` when it does not.

        Since Linux 6.7 kprobe and kprobe_multi links count them (kprobe hit while another ran on that CPU, or a
        kretprobe without a free instance).  See `trapline.kernel.missed` for what older kernels tell.
        """
        total: int | None = None
        for link in self._links:
            found = read_missed(link.fileno())
            if found is not None:
                total = (total or 0) + found
        return total

    def iterate(self) -> Fd:
        """Start a BPF iterator's run: the descriptor gives the program's output.

        Raises:
            ValueError: the link is no iterator.
        """
        if not self._links or self.program.spec.expected_attach.removeprefix("BPF_") != "TRACE_ITER":
            raise ValueError(f"{self.label} is no iterator")
        return bpf.create_iterator(self._links[0].fileno())

    def close(self) -> None:
        """Detach; closing twice is allowed."""
        close_links([self])

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Link {self.label}{' closed' if self._closed else ''}>"


def read_missed(link_fd: int) -> int | None:
    """Return the missed hits that a BPF link's info tells, or ``None`` when this kernel or kind of link does not."""
    try:
        info = bpf.object_info(link_fd, _INFO_SIZE)
    except KernelError:
        return None
    (kind,) = struct.unpack_from("<I", info)
    offset = None
    if kind == abi.LINK_TYPES["KPROBE_MULTI"]:
        offset = _MULTI_MISSED
    elif kind == abi.LINK_TYPES["PERF_EVENT"]:
        (event,) = struct.unpack_from("<I", info, _PERF_TYPE)
        if event in (abi.BPF_PERF_EVENT_KPROBE, abi.BPF_PERF_EVENT_KRETPROBE):
            offset = _PERF_KPROBE_MISSED
    if offset is None or len(info) < offset + 8:
        return None
    missed: int = struct.unpack_from("<Q", info, offset)[0]
    return missed


def close_links(links: Sequence[Link]) -> None:
    """Detach many, which takes hardly longer than one; closing twice is allowed."""
    for link in links:
        link._closed = True
    # The links first: they hold the perf events.
    close_all(fd for link in links for fd in link._links)
    close_all(fd for link in links for fd in link._perf)
