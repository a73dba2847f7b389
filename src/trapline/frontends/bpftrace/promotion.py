"""Which type holds values of two types, and which values a type can hold without loss.

(uint8, int8) → int16;  (string[2], string[9]) → string[9];  ((1, "a"), (300, "xyz")) → (int16,string[4])
"""

from __future__ import annotations

from trapline.frontends.bpftrace import types as t
from trapline.ir.types import Space


def promote(a: t.Type, b: t.Type) -> t.Type | None:
    """Return the type of a place that holds values of both types; ``None`` when there is none.

    Args:
        a: what the place holds so far; its order of names is kept for records.
        b: what else it is to hold.
    """
    if a == b or isinstance(b, t.UnknownT):
        return a
    if isinstance(a, t.UnknownT):
        return b
    if isinstance(a, t.IntT | t.EnumT) and isinstance(b, t.IntT | t.EnumT):
        return promote_integers(number(a), number(b))
    if isinstance(a, t.StringT) and isinstance(b, t.StringT):
        return a if a.size >= b.size else b
    if isinstance(a, t.BufferT) and isinstance(b, t.BufferT):
        return a if a.capacity >= b.capacity else b
    if isinstance(a, t.PtrT) and isinstance(b, t.PtrT):
        return _promote_pointers(a, b)
    if isinstance(a, t.StackT) and isinstance(b, t.StackT) and (a.kernel, a.mode) == (b.kernel, b.mode):
        return a if a.limit >= b.limit else b
    if isinstance(a, t.TupleT) and isinstance(b, t.TupleT):
        elements = _promote_all(a.elements, b.elements)
        return None if elements is None else t.TupleT(elements)
    if isinstance(a, t.NamedTupleT) and isinstance(b, t.NamedTupleT) and set(a.names) == set(b.names):
        by_name = dict(zip(b.names, b.elements, strict=True))
        elements = _promote_all(a.elements, tuple(by_name[name] for name in a.names))
        return None if elements is None else t.NamedTupleT(a.names, elements)
    if isinstance(a, t.AggregateT) and isinstance(b, t.AggregateT) and (a.kind, a.params) == (b.kind, b.params):
        return t.AggregateT(a.kind, a.signed or b.signed, a.params)
    return None


def number(type_: t.IntT | t.EnumT) -> t.IntT:
    """Return the integer type of an integer or an enumerator."""
    return t.IntT(type_.size, type_.signed) if isinstance(type_, t.EnumT) else type_


def promote_integers(a: t.IntT, b: t.IntT) -> t.IntT:
    """Return the integer type that holds both.

    A literal takes the sign of the other side. A narrower unsigned type goes into a signed one; else the signed type
    of twice the size is taken, and int64 where there is none.
    """
    if a.flexible and not b.flexible:
        a = t.IntT(a.size, b.signed)
    elif b.flexible and not a.flexible:
        b = t.IntT(b.size, a.signed)
    if a.signed == b.signed:
        return t.IntT(max(a.size, b.size), a.signed, a.flexible and b.flexible)
    signed, unsigned = (a, b) if a.signed else (b, a)
    return signed if signed.size > unsigned.size else t.IntT(min(8, 2 * max(a.size, b.size)))


def _promote_pointers(a: t.PtrT, b: t.PtrT) -> t.PtrT | None:
    target = promote(a.target, b.target)
    if target is None:
        return None
    return t.PtrT(target, a.space if a.space is b.space else Space.UNKNOWN)


def _promote_all(a: tuple[t.Type, ...], b: tuple[t.Type, ...]) -> tuple[t.Type, ...] | None:
    if len(a) != len(b):
        return None
    parts = [promote(x, y) for x, y in zip(a, b, strict=True)]
    return None if None in parts else tuple(p for p in parts if p is not None)


def fits(given: t.Type, wanted: t.Type) -> bool:
    """Tell whether every value of an integer type is a value of another."""
    if not isinstance(given, t.IntT | t.EnumT) or not isinstance(wanted, t.IntT | t.EnumT):
        return True
    a, b = number(given), number(wanted)
    if a.flexible or a.signed == b.signed:
        return a.size <= b.size
    return not a.signed and a.size < b.size


def holds(wanted: t.IntT | t.EnumT, value: int) -> bool:
    """Tell whether an integer type has a value."""
    bits = 8 * wanted.size
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1) if wanted.signed else 0 <= value < 1 << bits


def storable(given: t.Type, wanted: t.Type) -> bool:
    """Tell whether a value of a type may be stored where another type was declared (integers may lose bits)."""
    if isinstance(given, t.IntT | t.EnumT) and isinstance(wanted, t.IntT | t.EnumT):
        return True
    if isinstance(given, t.PtrT) and isinstance(wanted, t.PtrT):
        return True
    if isinstance(given, t.TupleT) and isinstance(wanted, t.TupleT) and len(given.elements) == len(wanted.elements):
        return all(storable(x, y) for x, y in zip(given.elements, wanted.elements, strict=True))
    if isinstance(given, t.NamedTupleT) and isinstance(wanted, t.NamedTupleT):
        parts = dict(zip(given.names, given.elements, strict=True))
        return set(parts) == set(wanted.names) and all(
            storable(parts[name], kind) for name, kind in zip(wanted.names, wanted.elements, strict=True)
        )
    return promote(wanted, given) == wanted
