"""The functions on programs in user space, as table rows."""

from __future__ import annotations

from trapline.abi.elf import ET_EXEC
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.builtins import probed_address
from trapline.frontends.bpftrace.memory import literal_text
from trapline.frontends.bpftrace.tables import Function
from trapline.frontends.bpftrace.user_arguments import read_usdt_argument
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I64, Space

if TYPE_CHECKING:
    from trapline.abi.elf import Symbol
    from trapline.debuginfo.binary import Binary
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_PAGE_MASK = 0xFFF
_MAX_USDT_ARGUMENTS = 255

# ---------------------------------------------------------------- uaddr


def _find_symbol(typer: ExpressionTyper, call: ast.Call) -> tuple[Binary, Symbol] | t.Type:
    """Return the file of the probe and the symbol that the call names; or report that there is none."""
    site = typer.site
    if not site.user:
        return typer.error(f"uaddr() is not available in a {site.provider} probe", call.span, "Use a uprobe or usdt.")
    text = literal_text(typer, call.args[0], "the argument of uaddr()")
    if text is None:
        return t.UNKNOWN
    name = text.decode("utf-8", "replace")
    paths = {p.attach.path for p in site.attach_points if isinstance(p.attach, spec.UprobeMultiAttach)}
    if len(paths) != 1:
        return typer.unsupported("uaddr() in a probe of several files is", call.span)
    path = paths.pop()
    binary = typer.knowledge.target.user_files.open(path)
    symbol = binary.data_symbol(name) if binary is not None else None
    if binary is None or symbol is None:
        return typer.error(f"Could not resolve symbol: {path}:{name}", call.span)
    return binary, symbol


def _check_uaddr(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    found = _find_symbol(typer, call)
    if not isinstance(found, tuple):
        return found
    binary, symbol = found
    if binary.elf.type != ET_EXEC and _probed_places(typer.site.attach_points, binary) is None:
        return typer.unsupported("uaddr() in a probe of places that cannot be told apart is", call.span)
    if typer.site.at_return and not typer.knowledge.target.has("uprobe_multi"):
        return typer.error("uaddr() in a uretprobe needs Linux 6.6", call.span, "Use a uprobe.")
    size = symbol.size if symbol.size in (1, 2, 4, 8) else 8
    return t.PtrT(t.IntT(size, False), Space.USER)


def _probed_places(points: tuple[spec.AttachPoint, ...], binary: Binary) -> list[int] | None:
    """Return the probed virtual addresses, if their places within a page tell them apart."""
    found: dict[int, int] = {}
    for point in points:
        assert isinstance(point.attach, spec.UprobeMultiAttach)
        for offset in point.attach.offsets:
            address = binary.address_of(offset)
            if address is None or found.setdefault(address & _PAGE_MASK, address) != address:
                return None
    return sorted(found.values())


def _lower_uaddr(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    found = _find_symbol(low.typer, call)
    assert isinstance(found, tuple)
    binary, symbol = found
    if binary.elf.type == ET_EXEC:
        return b.i64(symbol.value)
    # Where the file was loaded follows from where the probe is: no need to look for its mapping.
    here = probed_address(low)
    places = _probed_places(low.site.attach_points, binary)
    assert places
    linked: Op = b.i64(places[0])
    within = b.binary("and", here, b.i64(_PAGE_MASK))
    for place in places[1:]:
        linked = b.select(b.compare("eq", within, b.i64(place & _PAGE_MASK)), b.i64(place), linked)
    return b.binary("add", b.binary("sub", here, linked), b.i64(symbol.value))


# ---------------------------------------------------------------- usdt_arg


def _check_usdt_arg(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.type_of(call.args[0])
    number = typer.constant(call.args[0])
    if typer.site.provider != "usdt":
        return typer.error(f"usdt_arg() is not available in a {typer.site.provider} probe", call.span)
    if number is None or not 0 <= number < _MAX_USDT_ARGUMENTS:
        return typer.error("usdt_arg() expects a non-negative literal", call.span)
    return typer.usdt_argument(call, number)


def _lower_usdt_arg(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    number = low.typer.constant(call.args[0])
    assert number is not None
    return low.b.resize(
        read_usdt_argument(low.b, low.knowledge.target.arch, low.site.operands, number), I64, signed=False
    )


USER_FUNCTIONS = (
    Function(
        "uaddr",
        1,
        1,
        _check_uaddr,
        _lower_uaddr,
        'T * uaddr("symbol"): address of a symbol of the probed program in its process',
        needs="uprobe, uretprobe, usdt",
    ),
    Function("usdt_arg", 1, 1, _check_usdt_arg, _lower_usdt_arg, "int64 usdt_arg(n): argument n of a USDT probe"),
)
