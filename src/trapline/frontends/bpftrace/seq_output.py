"""What an iterator's program does around its block, and ``printf`` into the text of a pinned one.

iter:task { … }        →   leave at the end mark (no object); ask to be called again while the ring is half full
iter:task:f { printf("%d\\n", ctx.task.pid) }   →   bpf_seq_printf(ctx->meta->seq, "%d\\n", …)
"""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.formats import SPECIFIER
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.types import I32, I64, Ptr, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer
    from trapline.frontends.bpftrace.sites import ProbeSite

_MOST_VALUES = 12  # MAX_BPRINTF_VARARGS
_AGAIN = 1  # bpf_seq_read() returns EAGAIN, and starts at the same object when it is called again
_AVAILABLE = 0  # BPF_RB_AVAIL_DATA


def is_pinned(site: ProbeSite) -> bool:
    """Tell whether the site's text goes to the readers of a pinned iterator."""
    return site.provider == "iter" and bool(site.point.mode)


def begin_iterator(low: Lowerer) -> None:
    """Leave when there is no object, and let the reader catch up before the ring is full."""
    b = low.b
    for name, argument in low.typer.arguments.items.items():
        if isinstance(argument.type, t.PtrT) and name != "meta":
            pointer = b.load(I64, b.offset(b.context, argument.offset, name))
            with b.when(b.compare("eq", pointer, b.i64(0))):
                low.leave()
            low.checked_pointers[name] = b.variable(pointer, name)
    if not is_pinned(low.site):
        used = b.helper("ringbuf_query", b.map(spec.RING), b.i64(_AVAILABLE))
        half = low.knowledge.config.ring_bytes(low.knowledge.target.page_size) // 2
        with b.when(b.compare("ugt", used, b.i64(half))):
            b.ret(b.i64(_AGAIN))


def check_seq_printf(typer: ExpressionTyper, call: ast.Call, kinds: list[t.Type]) -> t.Type:
    """Refuse what the kernel's own formatting cannot show."""
    if call.name != "printf":
        return typer.unsupported(f"{call.name}() in a pinned iterator is", call.span)
    for node, kind in zip(call.args[1:], kinds, strict=True):
        if not isinstance(kind, t.UnknownT | t.StringT | t.IntT | t.BoolT | t.EnumT | t.PtrT):
            typer.unsupported(f"{kind} in the printf() of a pinned iterator is", node.span)
    if len(kinds) > _MOST_VALUES:
        typer.error(f"the printf() of a pinned iterator takes at most {_MOST_VALUES} values", call.span)
    return t.VOID


def lower_seq_printf(low: Lowerer, call: ast.Call) -> None:
    """Format into the iterator's own text, with the kernel's ``bpf_seq_printf``."""
    b = low.b
    text = (low.typer.literal_string(call.args[0]) or b"").decode("utf-8", "surrogateescape")
    kinds = [low.type(node) for node in call.args[1:]]
    left = list(kinds)
    format_ = SPECIFIER.sub(
        lambda m: "%%" if m["kind"] == "%" else _kernel_specifier(m["flags"], m["width"], m["kind"], left.pop(0)), text
    )
    values = []
    for node, kind in zip(call.args[1:], kinds, strict=True):
        if isinstance(kind, t.StringT):
            place = low.temporary(kind, "text")
            low.into(node, place, kind)
            values.append(b.to_integer(place))
        else:
            values.append(low.number(node))
    data = b.local(8 * max(1, len(values)), "values")
    for index, value in enumerate(values):
        b.store(value, b.offset(data, 8 * index))
    encoded = format_.encode("utf-8", "surrogateescape") + b"\0"
    place = b.local(len(encoded), "format")
    low.store_bytes(place, encoded)
    meta = b.load(Ptr(Space.BTF), b.context)
    seq = b.load(Ptr(Space.BTF), meta)  # struct bpf_iter_meta begins with struct seq_file *seq
    size = b.const(I32, 8 * len(values))
    b.helper("seq_printf", seq, place, b.i32(len(encoded)), data if values else b.null(Space.STACK), size, returns=I64)


def _kernel_specifier(flags: str, width: str | None, kind: str, type_: t.Type) -> str:
    if kind == "s" and isinstance(type_, t.StringT):
        return f"%{flags}{width or ''}s"
    if kind == "p":
        return "0x%llx"
    if kind == "c":
        return "%c"
    signed = isinstance(type_, t.IntT | t.EnumT) and type_.signed
    letter = {"s": "d" if signed else "u", "i": "d", "o": "x"}.get(kind, kind)
    return f"%{flags.replace('#', '')}{width or ''}ll{letter}"
