"""What `USDT.enumerate_probes` gives: probes, their places, and the places of their arguments, as tplist shows them."""

from __future__ import annotations

from trapline.bcc.failures import BccError
from trapline.bcc.names import to_bytes
from trapline.frontends.bcc_c.usdt_readers import c_register
from trapline.hints import TYPE_CHECKING
from trapline.records import record

if TYPE_CHECKING:
    from trapline.engine.user_probes import Operand, UserProbe, UserProbePlace


class USDTException(BccError):
    """What `USDT` raises."""


class FileProbe:
    """A probe of a file, and the function that was enabled for it (empty for none).

    Args:
        probe: as the machine found it.
    """

    def __init__(self, probe: UserProbe) -> None:
        self.path = probe.path
        self.provider = probe.provider
        self.name = probe.name
        self.places = probe.places
        self.forms = list(dict.fromkeys(place.operands for place in probe.places))
        self.function = ""


@record(frozen=True)
class ActiveProbe:
    """A place where a function is to run: `offset` and `semaphore` are in the file, `cookie` is its arguments' form."""

    path: str
    offset: int
    function: str
    pid: int
    semaphore: int
    cookie: int


class BCC_USDT_ARGUMENT_FLAGS:
    """What a `USDTProbeArgument` says of itself, as bits of ``valid``."""

    NONE = 0x0
    CONSTANT = 0x1
    DEREF_OFFSET = 0x2
    DEREF_IDENT = 0x4
    BASE_REGISTER_NAME = 0x8
    INDEX_REGISTER_NAME = 0x10
    SCALE = 0x20


class USDTProbeArgument:
    """Where an argument is; only the attributes that its kind has exist.

    Attributes:
        signed, size: its type; `size` in bytes.
        valid: which of the others there are (`BCC_USDT_ARGUMENT_FLAGS`).
        constant: its value.
        deref_offset: bytes from the base register.
        base_register_name, index_register_name, scale: of a register or of memory; the names as bytes.
    """

    constant: int
    deref_offset: int
    base_register_name: bytes
    index_register_name: bytes
    scale: int

    def __init__(self, operand: Operand) -> None:
        flags = BCC_USDT_ARGUMENT_FLAGS
        self.signed = operand.signed
        self.size = operand.size
        self.valid = flags.NONE
        self._text = operand.text
        if operand.kind == "constant":
            self.valid |= flags.CONSTANT
            self.constant = operand.value
        if operand.kind == "memory":
            self.valid |= flags.DEREF_OFFSET
            self.deref_offset = operand.value
        if operand.kind in ("register", "memory"):
            self.valid |= flags.BASE_REGISTER_NAME
            self.base_register_name = to_bytes(c_register(operand.register))
        if operand.index:
            self.valid |= flags.INDEX_REGISTER_NAME
            self.index_register_name = to_bytes(c_register(operand.index))
            if operand.scale != 1:
                self.valid |= flags.SCALE
                self.scale = operand.scale

    def _place(self) -> str:
        flags = BCC_USDT_ARGUMENT_FLAGS
        if self.valid & flags.CONSTANT:
            return str(self.constant)
        if not self.valid & flags.BASE_REGISTER_NAME:
            return f"unrecognized argument format, flags {self.valid}: {self._text}"
        base = self.base_register_name.decode()
        if not self.valid & flags.DEREF_OFFSET:
            return base
        index = f" + {self.index_register_name.decode()}" if self.valid & flags.INDEX_REGISTER_NAME else ""
        if self.valid & flags.SCALE:
            index += f" * {self.scale}"
        return f"*({base} {'-' if self.deref_offset < 0 else '+'} {abs(self.deref_offset)}{index})"

    def __str__(self) -> str:
        return f"{self.size} {'signed  ' if self.signed else 'unsigned'} bytes @ {self._place()}"


class USDTProbeLocation:
    """A place of a probe: `address` in the file `bin_path`, as the file numbers its code."""

    def __init__(self, probe: USDTProbe, index: int, place: UserProbePlace) -> None:
        self.probe = probe
        self.index = index
        self.num_arguments = len(place.operands)
        self.address = place.address
        self.bin_path = probe.bin_path
        self._operands = place.operands

    def __str__(self) -> str:
        return f"{self.bin_path.decode(errors='surrogateescape')} 0x{self.address:x}"

    def get_argument(self, index: int) -> USDTProbeArgument:
        """Return an argument, counted from 0.

        Raises:
            USDTException: there are not so many.
        """
        if not 0 <= index < self.num_arguments:
            raise USDTException(f"error retrieving probe argument {index} location {self.index}")
        return USDTProbeArgument(self._operands[index])


class USDTProbe:
    """A probe: its names and `bin_path` as bytes, `semaphore` an address of the file, and how many places it has."""

    def __init__(self, probe: FileProbe) -> None:
        self._places = probe.places
        self.provider = to_bytes(probe.provider)
        self.name = to_bytes(probe.name)
        self.bin_path = to_bytes(probe.path)
        self.semaphore = probe.places[0].semaphore_address
        self.num_locations = len(probe.places)
        self.num_arguments = len(probe.places[0].operands)

    def __str__(self) -> str:
        return f"{self.short_name()} [sema 0x{self.semaphore:x}]"

    def short_name(self) -> str:
        """Return ``provider:name``."""
        return f"{self.provider.decode(errors='replace')}:{self.name.decode(errors='replace')}"

    def get_location(self, index: int) -> USDTProbeLocation:
        """Return a place, counted from 0.

        Raises:
            USDTException: there are not so many.
        """
        if not 0 <= index < self.num_locations:
            raise USDTException(f"error retrieving probe location {index}")
        return USDTProbeLocation(self, index, self._places[index])
