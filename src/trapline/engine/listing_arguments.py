"""The arguments of the probes that can be listed, as C declarations."""

from __future__ import annotations

from collections.abc import Callable

from trapline.btf.tracing import raw_tracepoint_params
from trapline.engine.listing_user import describe_user_function
from trapline.errors import NoSuchProbeError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.btf import Btf
    from trapline.engine.listing import Listed
    from trapline.kernel.target import LiveTarget


def describe_arguments(row: Listed, target: LiveTarget) -> list[str]:
    """Return a listed probe's arguments as C declarations; nothing when it has none or they are unknown."""
    describe = _BY_KIND.get(row.kind)
    return [] if describe is None else describe(target, row)


def _declared(btf: Btf, type_id: int, name: str) -> str:
    """Return ``TYPE NAME`` as bpftrace shows it: the name behind the whole type, of function pointers too."""
    return f"{btf.type_name(type_id)} {name}"


def _parameters(target: LiveTarget, row: Listed) -> list[str]:
    btf = target.module_btf(row.module)
    function = None if btf is None else btf.func(row.symbol)
    if btf is None or function is None:
        return []
    return [_declared(btf, param.type, param.name or f"arg{index}") for index, param in enumerate(btf.params(function))]


def _return_value(target: LiveTarget, row: Listed) -> list[str]:
    btf = target.module_btf(row.module)
    function = None if btf is None else btf.func(row.symbol)
    if btf is None or function is None:
        return []
    result = btf.proto(function).ret
    return [] if result == 0 else [_declared(btf, result, "retval")]


def _parameters_and_return(target: LiveTarget, row: Listed) -> list[str]:
    return _parameters(target, row) + _return_value(target, row)


def _spaced(declaration: str) -> str:
    """Put a space between a pointer's star and the name, as bpftrace shows declarations: ``struct file * file``."""
    head, _, name = declaration.rpartition(" ")
    stars = len(name) - len(name.lstrip("*"))
    return f"{head} {name[:stars]} {name[stars:]}" if stars else declaration


def _tracepoint_fields(target: LiveTarget, row: Listed) -> list[str]:
    try:
        fields = target.tracepoint_format(row.module, row.symbol).fields
    except NoSuchProbeError:
        return []
    return [_spaced(field.declaration) for field in fields if not field.common]


def _raw_parameters(target: LiveTarget, row: Listed) -> list[str]:
    btf = target.module_btf(row.module)
    params = None if btf is None else raw_tracepoint_params(btf, row.symbol)
    if btf is None or params is None:
        return []
    return [_declared(btf, param.type, param.name or f"arg{index}") for index, param in enumerate(params)]


def _iterator_context(target: LiveTarget, row: Listed) -> list[str]:
    btf = target.module_btf(row.module)
    struct = None if btf is None else btf.struct(f"bpf_iter__{row.symbol}")
    if btf is None or struct is None:
        return []
    return [_declared(btf, field.type, field.name) for field in btf.fields(struct) if field.name != "meta"]


def _user_parameters(target: LiveTarget, row: Listed) -> list[str]:
    return describe_user_function(target, row.module, row.symbol)


_BY_KIND: dict[str, Callable[[LiveTarget, Listed], list[str]]] = {
    "fentry": _parameters,
    "fexit": _parameters_and_return,
    "iter": _iterator_context,
    "kprobe": _parameters,
    "kretprobe": _parameters_and_return,
    "rawtracepoint": _raw_parameters,
    "tracepoint": _tracepoint_fields,
    "uprobe": _user_parameters,
}
