"""Lower typed blocks to IR programs.

kprobe:f /pid == 1/ { @ = count() }   →   a KPROBE program: compare, look up, add, return 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.aggregates import AGGREGATES
from trapline.frontends.bpftrace.infer import TypedSite
from trapline.frontends.bpftrace.knowledge import Knowledge, Variable
from trapline.frontends.bpftrace.lower_base import is_signed
from trapline.frontends.bpftrace.lower_loops import LoopLowerer, variable_type
from trapline.frontends.bpftrace.module_builder import ModuleBuilder
from trapline.frontends.bpftrace.seq_output import begin_iterator
from trapline.frontends.bpftrace.sessions import find_sessions, merge_session
from trapline.frontends.bpftrace.stash import argument_slots, lower_stash, restore_stash
from trapline.frontends.bpftrace.walk import descendants
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.target import can_forbid_preemption
from trapline.ir.types import I64, integer
from trapline.records import replace

_NAME = re.compile(r"[^A-Za-z0-9_]+")


class Lowerer(LoopLowerer):
    """Lowers the statements of one site."""

    def run(self) -> None:
        """Lower predicate and block."""
        b = self.b
        probe = self.site.probe
        slots = argument_slots(self.typer)
        if slots:
            restore_stash(self, slots)
        self._filter_process()
        if self.site.provider == "iter":
            begin_iterator(self)
        if probe.predicate is not None:
            run, skip = b.new_block("run"), b.new_block("skip")
            self.branch_on(probe.predicate, run, skip)
            b.start(skip)
            self.leave()
            b.start(run)
        self.body(probe.body.body)
        if not b.finished:
            self.leave()

    def end_program(self, value: Op | None) -> None:
        """End the program: leave its own function; `value` is what a test says."""
        if value is not None and self.site.provider in ("test", "bench"):
            self.b.ret(value)
            return
        # A tracepoint's other listeners (perf) see the event only if the program returns non-zero.
        self.b.ret(self.b.i64(1 if self.site.program_type == "TRACEPOINT" else 0))

    def _filter_process(self) -> None:
        options = self.knowledge.options
        of_user = self.site.provider in ("uprobe", "uretprobe", "usdt")
        pid = options.pid or (options.child_pid if of_user else 0)
        if not pid or self.site.provider not in (
            "kprobe",
            "kretprobe",
            "tracepoint",
            "rawtracepoint",
            "fentry",
            "fexit",
            "uprobe",
            "uretprobe",
            "usdt",
        ):
            return
        b = self.b
        with b.when(b.compare("ne", self.current_pid(), b.i32(pid))):
            self.leave()

    def run_builtin(self, node: ast.Identifier, target: Op | None) -> Op | None:
        """Lower a built-in, as its row says."""
        return self.knowledge.builtins[node.name].lower(self, node, target)

    def run_function(self, node: ast.Call, target: Op | None) -> Op | None:
        """Lower a call, as the function's row says."""
        return self.knowledge.functions[node.name].lower(self, node, target)

    def start_map(self) -> str:
        """Return the name of the map that holds the time of the start."""
        return self.module.add_map(spec.MapSpec(spec.START, "ARRAY", 4, 8, 1))

    def context_for_helpers(self) -> Op:
        """Return the context, for helpers that take it."""
        return self.b.context

    # -- statements

    def body(self, statements: Sequence[ast.Statement]) -> None:
        """Lower statements."""
        for statement in statements:
            with self.b.at(statement.span.range):
                self._statement(statement)

    def block_value(self, node: ast.BlockExpression) -> None:
        """Lower the statements of a block expression."""
        self.body(node.body)

    def _statement(self, node: ast.Statement) -> None:
        if isinstance(node, ast.Block):
            self.body(node.body)
        elif isinstance(node, ast.ExpressionStatement | ast.Discard):
            self.effect(node.value)
        elif isinstance(node, ast.Assign):
            self._assign(node)
        elif isinstance(node, ast.Let):
            self._let(node)
        elif isinstance(node, ast.If):
            self._if(node)
        elif isinstance(node, ast.Unroll):
            self.unroll(node)
        elif isinstance(node, ast.While):
            self.while_loop(node)
        elif isinstance(node, ast.For):
            self.for_loop(node)
        elif isinstance(node, ast.Break | ast.Continue):
            self.jump_out(node)
        elif isinstance(node, ast.Return):
            self.leave(self.number(node.value) if node.value is not None else None)
        elif not isinstance(node, ast.Import):
            raise AssertionError(f"{type(node).__name__} was lowered")

    def _let(self, node: ast.Let) -> None:
        variable = self.typer.resolved[node.target]
        place = self.place(variable)
        if node.value is not None:
            self.into(node.value, place, variable_type(variable))

    def _assign(self, node: ast.Assign) -> None:
        target = node.target
        if isinstance(target, ast.Variable):
            self._assign_variable(node, self.typer.resolved[target])
            return
        value = node.value
        if isinstance(value, ast.Call) and value.name in AGGREGATES:
            AGGREGATES[value.name].lower(self, value, target)
        else:
            self.assign_map(node, target)

    def _assign_variable(self, node: ast.Assign, variable: Variable) -> None:
        b = self.b
        type_ = variable_type(variable)
        if node.op:
            place = self.place(variable)
            old = b.resize(b.load(integer(type_.size), place), I64, signed=is_signed(type_))
            operand = self.number(node.value)
            if isinstance(type_, t.PtrT):
                operand = b.binary("mul", operand, b.i64(max(1, type_.target.size)))
            result = self.arithmetic(node.op, old, operand, self.signed_together(type_, node.value), node)
            b.store(b.resize(result, integer(type_.size), signed=True), place)
            return
        if t.is_scalar(type_):
            own = self.type(node.value)
            value = self.value(node.value)
            b.store(self.convert(value, self.typer.read(own), type_), self.place(variable))
        else:
            self._assign_memory(node.value, variable, type_)

    def _assign_memory(self, value: ast.Expr, variable: Variable, type_: t.Type) -> None:
        """Write a value that is not a number to a variable, which the value may name."""
        place = self.place(variable)
        if isinstance(value, ast.String):
            self.into(value, place, type_)
            return
        named = any(isinstance(n, ast.Variable) and self.typer.resolved.get(n) is variable for n in descendants(value))
        fresh = self.temporary(type_, "assigned") if named else place
        if not isinstance(value, ast.Variable | ast.MapName | ast.MapElement | ast.FieldAccess):
            self.b.fill(fresh, type_.size)
        self.into(value, fresh, type_)
        if named:
            self.b.copy(place, fresh, type_.size)

    def _if(self, node: ast.If) -> None:
        b = self.b
        if node.comptime:
            chosen = self.typer.chosen[node]
            if chosen is not None:
                self._statement(chosen)
            return
        then, after = b.new_block("then"), b.new_block("endif")
        other = b.new_block("else") if node.otherwise is not None else after
        self.branch_on(node.condition, then, other)
        b.start(then)
        self.body(node.then.body)
        b.jump(after)
        if node.otherwise is not None:
            b.start(other)
            self._statement(node.otherwise)
            b.jump(after)
        b.start(after)


def lower_program(
    knowledge: Knowledge, sites: Sequence[TypedSite], page_size: int
) -> tuple[ModuleBuilder, tuple[spec.MapSpec, ...]]:
    """Lower all sites, in source order.

    Args:
        knowledge: what was found out about maps.
        sites: the typed blocks.
        page_size: bytes of a page of the target.

    Returns:
        Programs, events and faults, and the maps they use.
    """
    module = ModuleBuilder(knowledge)
    module.add_user_maps()
    sessions = find_sessions(sites, knowledge.target)
    indexes: list[int] = []
    for number, typed in enumerate(sites):
        earlier = sessions.get(number)
        if earlier is None:
            indexes.append(len(module.programs))
            module.programs.append(_lower_site(typed, module, number, indexes[-1]))
            continue
        indexes.append(indexes[earlier])
        other = module.programs[indexes[-1]]
        added = _lower_site(typed, module, number, indexes[-1], other.attach_points[0].cookie)
        returns = sites[earlier].site.at_return
        module.programs[indexes[-1]] = merge_session(other, added, first_returns=returns)
    for number, typed in zip(indexes, sites, strict=True):
        entry = lower_stash(typed, module, number)
        if entry is not None:
            module.programs.append(entry)
    return module, module.finish_maps(knowledge.config.ring_bytes(page_size))


def _lower_site(
    typed: TypedSite, module: ModuleBuilder, number: int, index: int, cookies_from: int | None = None
) -> spec.ProgramSpec:
    """Lower a block; its program is the `index`th, its places may have the cookies of another block's."""
    site = typed.site
    name = _NAME.sub("_", site.label).strip("_")[:40] + f"_{number + 1}"
    low = Lowerer(typed.typer, module, index, name)
    low.name_index = len(module.probe_names)
    low.cookie_shift = 0 if cookies_from is None else low.name_index - cookies_from
    module.probe_names.extend(site.names)
    low.run()
    body = site.probe.body.span
    return spec.ProgramSpec(
        name,
        site.program_type,
        low.b.finish(),
        attach_points(typed, low.name_index),
        label=site.label,
        expected_attach=site.expected_attach,
        span=(site.point.span.range[0], body.range[1]),
        subprograms=tuple(low.subprograms.values()),
        preemptible=site.user and can_forbid_preemption(low.knowledge.target, low.knowledge.config.text("license")),
    )


def attach_points(typed: TypedSite, first: int) -> tuple[spec.AttachPoint, ...]:
    """Give a site's attach points their cookies: the indexes of their probes' names."""
    points = []
    for point in typed.site.attach_points:
        attach = point.attach
        if isinstance(attach, spec.KprobeMultiAttach):
            attach = spec.KprobeMultiAttach(
                attach.symbols,
                tuple(first + i for i in range(len(attach.symbols))),
                attach.retprobe,
                attach.session,
                attach.module,
            )
        elif isinstance(attach, spec.UprobeMultiAttach) and typed.site.many:
            attach = replace(attach, cookies=tuple(first + cookie for cookie in attach.cookies))
        points.append(spec.AttachPoint(attach, point.label, first, point.span, point.optional))
    return tuple(points)
