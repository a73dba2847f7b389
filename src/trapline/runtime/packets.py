"""``skboutput()``: network packets that programs send, written to pcap files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from trapline.errors import TargetError
from trapline.hints import TYPE_CHECKING, BinaryIO
from trapline.ir.spec import PacketEvent
from trapline.syscall.perfring import PerfRing

if TYPE_CHECKING:
    from trapline.kernel.map import Map
    from trapline.runtime.loop import EventLoop

PAGES = 64
_HEADER = struct.Struct("=IIQ")  # event, bytes of the packet, ns since boot
# Magic of a file with times in ns, version 2.4, UTC, no accuracy, the longest packet, LINKTYPE_RAW (IPv4 or IPv6).
_FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
_PACKET_HEADER = struct.Struct("=IIII")  # s, ns, bytes kept, bytes of the packet


class PacketFiles:
    """The files of a program's ``skboutput()`` calls.

    Args:
        events: by their numbers.
        boot_to_real: what to add to the boot clock to get the time of day, in ns.

    Raises:
        TargetError: a file cannot be made.
    """

    def __init__(self, events: Mapping[int, PacketEvent], boot_to_real: int) -> None:
        self._boot_to_real = boot_to_real
        self._stack = stack = ExitStack()
        files: dict[str, BinaryIO] = {}
        self._by_event: dict[int, tuple[BinaryIO, int]] = {}
        try:
            for number, event in events.items():
                if event.path not in files:
                    files[event.path] = file = stack.enter_context(open(event.path, "wb"))  # noqa: SIM115
                    file.write(_FILE_HEADER)
                self._by_event[number] = files[event.path], event.skip
        except OSError as error:
            stack.close()
            raise TargetError(f"skboutput() cannot write {error.filename}: {error.strerror}") from None

    def write(self, sample: bytes) -> None:
        """Write a packet to its file, without what its event skips."""
        number, size, when = _HEADER.unpack_from(sample)
        file, skip = self._by_event[number]
        packet = sample[_HEADER.size + skip : _HEADER.size + size]
        seconds, ns = divmod(when + self._boot_to_real, 1_000_000_000)
        file.write(_PACKET_HEADER.pack(seconds, ns, len(packet), len(packet)))
        file.write(packet)

    def close(self) -> None:
        """Write what is left and close the files."""
        self._stack.close()


class Packets:
    """The rings that packets come through, one for each CPU.

    Packets that find a ring full are counted where they are sent: there the helper fails.

    Args:
        files: where the packets go.
        map_: the program's ``.packets``.
        cpus: the CPUs that run.
        pages: size of each ring, rounded up to a power of two.
        boot_to_real: see `PacketFiles`.
    """

    def __init__(self, files: PacketFiles, map_: Map, cpus: Sequence[int], pages: int) -> None:
        self._files = files
        self._rings: list[PerfRing] = []
        try:
            for cpu in cpus:
                ring = PerfRing(cpu, 1 << max(0, pages - 1).bit_length())
                self._rings.append(ring)
                map_.update(cpu.to_bytes(4, "little"), ring.fileno().to_bytes(4, "little"))
        except BaseException:
            self.close()
            raise

    def watch(self, loop: EventLoop) -> None:
        """Let a loop write the packets as they come."""
        for ring in self._rings:
            loop.on_input(ring.fileno(), self._taker(ring))

    def _taker(self, ring: PerfRing) -> Callable[[], None]:
        def take() -> None:
            for sample in ring.take().samples:
                self._files.write(sample)

        return take

    def drain(self) -> None:
        """Write what is there."""
        for ring in self._rings:
            self._taker(ring)()

    def close(self) -> None:
        """Close rings and files; closing twice is allowed."""
        for ring in self._rings:
            ring.close()
        self._rings.clear()
        self._files.close()
