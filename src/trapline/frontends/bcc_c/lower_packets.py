"""Members of packet headers: read and written through the kernel, in the order of the network.

``ip->hlen`` (4 bits at bit 4 of byte 14)   →   one byte by classic BPF's instruction, shifted and masked

Where a packet is too short, the program ends and returns 0: that instruction does it by itself, which leaves the code
straight, so that loops over a packet's bytes can be written out.  Scripts index arrays in them.
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.clang.ctype import CField, CInt, CRecord, CType
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.prelude.packets import PACKET
from trapline.hints import TYPE_CHECKING
from trapline.ir import function as f
from trapline.ir.types import I8, I32, I64, Int
from trapline.records import record

if TYPE_CHECKING:
    from trapline.frontends.bcc_c.lowerer import Lowerer


@record(frozen=True)
class PacketBits:
    """Some bits behind an address, the highest first: `start` of the first byte's are left out."""

    start: int
    width: int

    @property
    def size(self) -> int:
        """How many bytes they touch."""
        return (self.start + self.width + 7) // 8


def packet_bits(record_: CType, member: CField) -> PacketBits | None:
    """Return the bits of a packet header's member, from the byte that holds the first; ``None`` for other structs."""
    if not isinstance(record_, CRecord) or PACKET not in record_.annotations or not isinstance(member.type, CInt):
        return None
    return PacketBits(member.offset_bits % 8, member.width or member.type.size * 8)


def load_packet(lo: Lowerer, address: f.Op, bits: PacketBits) -> f.Op:
    """Read bits of the packet; returns an i64."""
    word = _load_word(lo, lo.to_integer(address), bits.size)
    word = lo.b.binary("lshr", word, lo.b.i64(bits.size * 8 - bits.start - bits.width))
    return lo.b.binary("and", word, lo.b.i64((1 << bits.width) - 1))


def store_packet(lo: Lowerer, address: f.Op, bits: PacketBits, value: f.Op) -> None:
    """Write bits of the packet."""
    place = lo.to_integer(address)
    value = lo.b.binary("and", lo.b.resize(value, I64, signed=False), lo.b.i64((1 << bits.width) - 1))
    below = bits.size * 8 - bits.start - bits.width
    if bits.width != bits.size * 8:
        mask = ((1 << bits.width) - 1) << below
        kept = lo.b.binary("and", _load_word(lo, place, bits.size), lo.b.i64(~mask & ((1 << 64) - 1)))
        value = lo.b.binary("or", kept, lo.b.binary("shl", value, lo.b.i64(below)))
    buffer = lo.local(8, "packet")
    for index in range(bits.size):
        byte = lo.b.binary("lshr", value, lo.b.i64(8 * (bits.size - 1 - index)))
        lo.b.store(lo.b.resize(byte, I8, signed=False), lo.b.offset(buffer, index))
    _check(lo, lo.b.helper("skb_store_bytes", lo.b.context, place, buffer, lo.b.i64(bits.size), lo.b.i64(0)))


def _load_word(lo: Lowerer, place: f.Op, size: int) -> f.Op:
    """Read up to 8 bytes of the packet as a number."""
    if size > 8:
        raise lo.unsupported("a member of a packet header crosses 8 bytes", None)
    lo.unit.unroll = True
    word: f.Op | None = None
    done = 0
    while done < size:
        part = next(part for part in (4, 2, 1) if part <= size - done)
        read = lo.b.emit(f.LoadPacket(I64, part, lo.b.context, lo.b.binary("add", place, lo.b.i64(done))))
        above = lo.b.binary("shl", word, lo.b.i64(8 * part)) if word is not None else None
        word = read if above is None else lo.b.binary("or", above, read)
        done += part
    return word or lo.b.i64(0)


def _check(lo: Lowerer, result: f.Op) -> None:
    with lo.b.when(lo.b.compare("slt", result, lo.b.i64(0))):
        lo.ending_program()


def _load(size: int) -> Callable[[Lowerer, tree.CallFunction], f.Op]:
    def rule(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
        return _load_word(lo, lo.to_integer(lo.wide(expr.arguments[1])), size)

    return rule


def _extract(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    """``bpf_dext_pkt(skb, offset, first bit, bits)``."""
    start, width = (lo.value(argument) for argument in expr.arguments[2:4])
    if not isinstance(start, f.Const) or not isinstance(width, f.Const):
        raise lo.unsupported("the bits given to bpf_dext_pkt() must be constants", expr)
    return load_packet(lo, lo.wide(expr.arguments[1]), PacketBits(start.value, width.value))


def _checksum(layer: int) -> Callable[[Lowerer, tree.CallFunction], f.Op]:
    """``incr_cksum_l3(&ip->hchecksum, old, new)``: the values are in the machine's order, as those of members are."""

    def rule(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
        place, old, new, *flags = expr.arguments
        size = _size_as_written(new)
        values = [_network_order(lo, lo.wide(value), size) for value in (old, new)]
        option: f.Op = lo.b.i64(size)
        if layer == 4:
            pseudo = lo.b.binary("and", lo.wide(flags[0]), lo.b.i64(1))
            option = lo.b.binary("or", lo.b.binary("shl", pseudo, lo.b.i64(4)), option)
        address = lo.to_integer(lo.wide(place))
        result = lo.b.helper(f"l{layer}_csum_replace", lo.b.context, address, *values, option)
        return lo.b.resize(result, I32, signed=True)

    return rule


def _size_as_written(expr: tree.Expr) -> int:
    """Return the size of an argument before it was converted to the parameter's 8 bytes."""
    return expr.operand.type.size if isinstance(expr, tree.Cast) and expr.type.size == 8 else expr.type.size


def _network_order(lo: Lowerer, value: f.Op, size: int) -> f.Op:
    if size not in (2, 4, 8):
        return value
    type_ = Int(size * 8)
    swapped = lo.b.emit(f.Convert(type_, "bswap", lo.b.resize(value, type_, signed=False)))
    return lo.b.resize(swapped, I64, signed=False)


PACKET_FUNCTIONS: dict[str, Callable[[Lowerer, tree.CallFunction], f.Op]] = {
    "load_byte": _load(1),
    "load_half": _load(2),
    "load_word": _load(4),
    "bpf_dext_pkt": _extract,
    "incr_cksum_l3": _checksum(3),
    "incr_cksum_l4": _checksum(4),
}
