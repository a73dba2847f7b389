"""What all lowering needs: the builder, conversions, temporaries, faults, and records for the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from trapline.abi.bpf import BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP
from trapline.errors import InternalError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.infer import SiteTyper
from trapline.frontends.bpftrace.module_builder import ModuleBuilder
from trapline.frontends.bpftrace.readers import value_of
from trapline.frontends.bpftrace.walk import descendants
from trapline.ir import spec
from trapline.ir.builder import Builder
from trapline.ir.function import Function, Op
from trapline.ir.types import I8, I32, I64, Int, Ptr, Space, integer

Part = ast.Expr | tuple[Op, t.Type]
"""A printed value: an expression, or what it was lowered to already."""


# Programs of other types have no helper that returns the current task.
_READ_TASKS = frozenset(("KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "TRACING"))


class LowererBase:
    """Lowers one site's block.

    Args:
        typer: the types of the block.
        module: receives maps, events and faults.
        number: the program's index in the module.
        name: the function's name.
    """

    def __init__(self, typer: SiteTyper, module: ModuleBuilder, number: int, name: str) -> None:
        self.typer = typer
        self.site = typer.site
        self.module = module
        self.knowledge = typer.knowledge
        self.program_index = number
        self.name = name
        self.b = Builder(name)
        self.stash: Op | None = None
        self.stash_slots: dict[str, int] = {}
        self.checked_pointers: dict[str, Op] = {}  # variables with the context's pointers that are not null
        self.name_index = 0
        self.cookie_shift = 0
        self.subprograms: dict[str, Function] = {}

    def add_subprogram(self, name: str, build: Callable[[str], Builder]) -> str:
        """Add a function that the program calls (once); return its name."""
        if name not in self.subprograms:
            self.subprograms[name] = build(name).finish()
        return name

    # -- types

    def type(self, node: ast.Expr) -> t.Type:
        """Return the type of an expression."""
        type_ = self.typer.types.get(node, t.UNKNOWN)
        if isinstance(type_, t.UnknownT):
            raise InternalError(f"no type for {type(node).__name__} {node.span.text!r}")
        return type_

    def convert(self, value: Op, source: t.Type, target: t.Type) -> Op:
        """Convert a scalar of one type of the language to another."""
        if not isinstance(value.type, Int):
            raise InternalError(f"conversion of {value.type}")
        if isinstance(target, t.BoolT) and not isinstance(source, t.BoolT):
            return self.b.resize(self.b.truth(value), I8, signed=False)
        return self.b.resize(value, integer(target.size), signed=is_signed(source))

    # -- memory

    def temporary(self, type_: t.Type, name: str = "") -> Op:
        """Return memory for a value of a type."""
        return self.b.local(max(type_.size, 1), name)

    def store_bytes(self, pointer: Op, data: bytes) -> None:
        """Write constant bytes, in the widest steps."""
        at = 0
        while at < len(data):
            size = next(s for s in (8, 4, 2, 1) if at + s <= len(data))
            chunk = int.from_bytes(data[at : at + size], "little")
            self.b.store(self.b.const(integer(size), chunk), self.b.offset(pointer, at))
            at += size

    # -- to be provided by the subclasses

    def value(self, node: ast.Expr) -> Op:
        """Return the value of an expression of scalar type, as an integer of the type's width."""
        raise NotImplementedError

    def number(self, node: ast.Expr) -> Op:
        """Return the value of an expression as an i64."""
        raise NotImplementedError

    def address(self, node: ast.Expr) -> Op:
        """Return the address of an expression's value: its own place, or a copy where it has none."""
        raise NotImplementedError

    def into(self, node: ast.Expr, target: Op, type_: t.Type) -> None:
        """Write the value of an expression to memory, as a value of `type_`."""
        raise NotImplementedError

    def run_builtin(self, node: ast.Identifier, target: Op | None) -> Op | None:
        """Lower a built-in, as its row says."""
        raise NotImplementedError

    def run_function(self, node: ast.Call, target: Op | None) -> Op | None:
        """Lower a call, as the function's row says."""
        raise NotImplementedError

    # -- faults

    def fault(self, kind: str, helper: str, node: ast.Node, result: Op, *, warn: bool = True) -> None:
        """Count a failure at run time."""
        b = self.b
        index = self.module.add_fault(kind, helper, node.span.range, warn)
        key = b.variable(b.i32(index), "fault")
        counter = b.map_lookup(spec.FAULTS, key)
        with b.when(b.compare("ne", counter, b.null(Space.MAP))):
            b.atomic("add", counter, b.i64(1))
            b.store(b.resize(result, I64, signed=True), b.offset(counter, 8))

    def check_update(self, result: Op, node: ast.Node, helper: str = "map_update_elem") -> None:
        """Count a failed map update."""
        # Until Linux 6.4 the map's own function, which returns an int, is called directly: the upper half is no sign.
        code = self.b.resize(result, I32, signed=True)
        with self.b.when(self.b.compare("slt", code, self.b.i32(0))):
            self.fault("map_full", helper, node, code)

    # -- records

    @property
    def header(self) -> int:
        """Size of a record's header in bytes."""
        return spec.TYPED_HEADER if self.knowledge.options.typed_events else spec.SHORT_HEADER

    @contextmanager
    def record(self, event: spec.Event) -> Iterator[Op]:
        """Reserve a record of `event`; what is built inside the ``with`` fills it; then it is submitted."""
        b = self.b
        index = self.module.add_event(event)
        size = event.size
        record = b.helper("ringbuf_reserve", b.map(spec.RING), b.i64(size), b.i64(0), returns=Ptr(Space.RECORD))
        full, fill, after = b.new_block("full"), b.new_block("fill"), b.new_block("sent")
        b.branch(b.compare("eq", record, b.null(Space.RECORD)), full, fill)
        b.start(full)
        self._count_loss()
        b.jump(after)
        b.start(fill)
        self._fill_header(record, index)
        yield record
        b.helper("ringbuf_submit", record, self._wake_flags())
        b.jump(after)
        b.start(after)

    def _wake_flags(self) -> Op:
        """Return the flags that wake the reader if it sleeps; they must be asked for after the record was reserved."""
        b = self.b
        sleeping = b.map_value(spec.WAKE)
        flags = b.variable(b.i64(BPF_RB_NO_WAKEUP), "flags")
        with b.when(b.truth(b.load(I64, sleeping))):
            b.store(b.i64(0), sleeping)  # once is enough
            b.store(b.i64(BPF_RB_FORCE_WAKEUP), flags)
        return b.load(I64, flags)

    def _count_loss(self) -> None:
        b = self.b
        key = b.variable(b.i32(self.program_index), "program")
        counter = b.map_lookup(spec.LOST, key)
        with b.when(b.compare("ne", counter, b.null(Space.MAP))):
            b.atomic("add", counter, b.i64(1))

    def _fill_header(self, record: Op, index: int) -> None:
        b = self.b
        b.store(b.i64(self.program_index << 32 | index), record)  # {u32 event; u32 probe}, little endian
        if not self.knowledge.options.typed_events:
            return
        b.store(b.helper("ktime_get_boot_ns"), b.offset(record, 8))
        task = b.helper("get_current_pid_tgid")
        thread = b.binary("shl", task, b.i64(32))
        process = b.binary("lshr", task, b.i64(32))
        b.store(b.binary("or", process, thread), b.offset(record, 16))
        b.store(b.resize(b.helper("get_smp_processor_id"), I64, signed=False), b.offset(record, 24))
        b.store(self.cookie(), b.offset(record, 32))

    def cookie(self) -> Op:
        """Return the index of the probe's name: known at compile time unless the program has many places."""
        if self.site.many:
            cookie = self.b.helper("get_attach_cookie", self.b.context)
            return self.b.binary("add", cookie, self.b.i64(self.cookie_shift)) if self.cookie_shift else cookie
        return self.b.i64(self.name_index)

    def plan_fields(self, types: Sequence[t.Type], names: Sequence[str]) -> tuple[tuple[spec.Field, ...], int]:
        """Lay out a record's fields; return them and the record's size."""
        at = self.header
        fields = []
        for type_, name in zip(types, names, strict=True):
            at = t.round_up(at, min(8, t.align_of(type_)))
            value = value_of(type_)
            if value is None:
                raise InternalError(f"a {type_} cannot be printed")
            fields.append(spec.Field(at, value, name))
            at += type_.size
        return tuple(fields), t.round_up(at, 8)

    def scalars_first(self, parts: Sequence[Part]) -> list[Part]:
        """Compute the scalar parts before the record is reserved; the others are written straight into it."""
        done: list[Part] = []
        for part in parts:
            if isinstance(part, tuple):
                done.append(part)
                continue
            type_ = self.type(part)
            if isinstance(type_, t.AggregateT):
                done.append((self.value(part), t.aggregate_number(type_)))
            else:
                done.append((self.value(part), type_) if t.is_scalar(type_) else part)
        return done

    def fill_fields(
        self, record: Op, fields: Sequence[spec.Field], types: Sequence[t.Type], parts: Sequence[Part]
    ) -> None:
        """Write a record's fields."""
        for field, type_, part in zip(fields, types, parts, strict=True):
            place = self.b.offset(record, field.offset)
            if isinstance(part, tuple):
                self.b.store(self.convert(part[0], part[1], type_), place)
            else:
                self.into(part, place, type_)

    @cached_property
    def reads_comm(self) -> bool:
        """Whether the block reads ``comm``."""
        return any(isinstance(node, ast.Identifier) and node.name == "comm" for node in descendants(self.site.probe))

    def current_pid(self) -> Op:
        """Return the current process (tgid) as i32, as the tracer's pid namespace numbers it."""
        return self._current("tgid")

    def current_tid(self) -> Op:
        """Return the current thread (the kernel's pid) as i32, as the tracer's pid namespace numbers it."""
        return self._current("pid")

    def _current(self, member: str) -> Op:
        b = self.b
        namespace = self.knowledge.target.pid_namespace
        if namespace is not None:
            info = b.local(8, "pidns", zero=True)
            b.helper("get_ns_current_pid_tgid", b.i64(namespace[0]), b.i64(namespace[1]), info, b.i32(8))
            return b.load(I32, b.offset(info, 4 if member == "tgid" else 0))
        # The helper for `pid` costs as much as the one for the task: with `comm` one call is enough.
        members = self.task_members() if self.reads_comm else {}
        if members:
            task = b.helper("get_current_task_btf", returns=Ptr(Space.BTF))
            return b.load(I32, b.offset(task, members[member], member))
        both = b.helper("get_current_pid_tgid")
        return b.resize(b.binary("lshr", both, b.i64(32)) if member == "tgid" else both, I32, signed=False)

    def task_members(self) -> Mapping[str, int]:
        """Return where ``comm``, ``pid`` and ``tgid`` are in the current task; empty where programs cannot read it.

        A load from it takes a nanosecond, the helpers that return the same take ten to fifty.
        """
        if self.site.program_type not in _READ_TASKS:
            return {}
        target = self.knowledge.target
        members = target.struct_members("task_struct", ("comm", "pid", "tgid"))
        return members if members and target.has("helper:get_current_task_btf") else {}


def is_signed(type_: t.Type) -> bool:
    """Tell whether a scalar type is extended by its sign."""
    return isinstance(type_, t.IntT | t.EnumT) and type_.signed
