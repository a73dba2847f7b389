"""A large map as text without Python per element: its plan, and the native printer at work."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from trapline.errors import KernelError
from trapline.ir import values as v
from trapline.ir.spec import MapSpec
from trapline.records import record
from trapline.runtime.aggregate import is_per_cpu
from trapline.runtime.native import tables as t
from trapline.runtime.native.plan import Unsuited, plan_element
from trapline.runtime.objects import Namer
from trapline.syscall.machine_code import MachineCode, shipped_code

_ROOM = 128 << 10  # bytes of text per call
_LONGEST_KEY = 256
_WORD = 8
_SIGN = 0x80

# How many elements, their keys, and their values, one behind the other.
Packed = tuple[int, bytes, bytes]


@record(frozen=True)
class ElementPlan:
    """How the elements of a map are sorted and shown.

    Args:
        event, steps, pool: tables of the steps.
        columns: rows of the bytes to sort by, the least significant first.
        value_size: of the number that is read first, in bytes.
        signed: whether values are.
        per_cpu: whether words are added up.
    """

    event: bytes
    steps: bytes
    pool: bytes
    columns: bytes
    value_size: int
    signed: bool
    per_cpu: bool


def make_element_plan(spec: MapSpec, trailer: bytes, namer: Namer) -> ElementPlan | None:
    """Make the plan of a map from integers, strings or tuples of them to an integer, a count or a sum.

    Args:
        spec: the map.
        trailer: marks a string that fills its field.
        namer: gives names to addresses, user ids, probes.

    Returns:
        The plan; ``None`` for other maps, which are left to Python.
    """
    key, value, per_cpu = spec.key, spec.value, is_per_cpu(spec)
    if key is None or spec.scalar or key.size != spec.key_size or key.size > _LONGEST_KEY:
        return None
    if not isinstance(value, v.IntV | v.CountV | v.SumV) or value.size not in ((8,) if per_cpu else (1, 2, 4, 8)):
        return None
    signed = bool(getattr(value, "signed", False))
    # A record is {u64 value; key}.
    try:
        event, steps, pool = plan_element(spec.name, key, _WORD, signed, trailer, namer)
        columns = [*_integer_columns(0, _WORD, signed), *_columns(key, _WORD)]
    except Unsuited:
        return None
    rows = b"".join([t.COLUMN.pack(*column) for column in reversed(columns)])
    return ElementPlan(event, steps, pool, rows, value.size, signed, per_cpu)


def open_printer() -> MachineCode | None:
    """Return the printer, to be closed; ``None`` where the machine has none, or lets nobody run such code."""
    from trapline.runtime.native._generated_elements import CODE

    code = shipped_code(CODE)
    try:
        return None if code is None else MachineCode(*code)
    except (OSError, KernelError):
        return None


def _columns(value: v.Value, at: int) -> Iterator[tuple[int, int]]:
    """Yield the places of the bytes by which keys are sorted, the most significant first, and what flips them."""
    if isinstance(value, v.TupleV):
        for offset, element in value.elements:
            yield from _columns(element, at + offset)
    elif isinstance(value, v.StrV):
        yield from ((at + index, 0) for index in range(value.size))
    elif isinstance(value, v.IntV):
        yield from _integer_columns(at, value.size, value.signed)
    else:
        raise Unsuited


def _integer_columns(at: int, size: int, signed: bool) -> Iterator[tuple[int, int]]:
    for index in reversed(range(size)):
        yield at + index, _SIGN if signed and index == size - 1 else 0


def element_texts(printer: MachineCode, plan: ElementPlan, packed: Packed, top: int = 0) -> Iterator[bytes]:
    """Sort the elements of a map and show them.

    Args:
        printer: the code of `trapline.runtime.native.elements_ir`.
        plan: the map's.
        packed: its elements, at least one.
        top: show only so many, the last ones; 0 shows all.

    Yields:
        Texts of about 128 KiB.
    """
    count, keys, values = packed
    key_size, stride = len(keys) // count, len(values) // count
    record_size = _WORD + (key_size + _WORD - 1) // _WORD * _WORD
    contents = (keys + bytes(_WORD), values, plan.columns, plan.event, plan.steps, plan.pool)
    rooms = (count * record_size, count * _WORD, count * _WORD, _ROOM)
    buffers = [ctypes.create_string_buffer(content, len(content)) for content in contents]
    buffers += [ctypes.create_string_buffer(room) for room in rooms]
    names = ("keys", "values", "columns", "events", "steps", "pool", "records", "spare", "other", "out")
    given = {name: ctypes.addressof(buffer) for name, buffer in zip(names, buffers, strict=True)}
    out = given["out"]
    given |= {
        "key_size": key_size,
        "stride": stride,
        "parts": stride // _WORD if plan.per_cpu else 1,
        "value_size": plan.value_size,
        "value_flags": t.SIGNED if plan.signed else 0,
        "count": count,
        "record_size": record_size,
        "column_count": len(plan.columns) // t.COLUMN.size,
        "order": 0,
        "next": max(count - top, 0) if top else 0,
        "out_end": out + _ROOM,
    }
    state = (ctypes.c_uint64 * len(t.ELEMENTS))(*[given[name] for name in t.ELEMENTS])
    end = t.ELEMENTS.index("out")
    status = t.FULL
    while status == t.FULL:
        state[end] = out
        status = printer.call(ctypes.addressof(state))
        yield ctypes.string_at(out, state[end] - out)
