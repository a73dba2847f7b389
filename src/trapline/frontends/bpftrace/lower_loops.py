"""Lower loops.  The body of a ``for`` is a function of its own, which a helper calls for each number or element.

for $i : 0..9 { $sum += $i }   →   captured = {context, left, result, start, &$sum}; bpf_loop(9, body, &captured)

The body reaches the variables around it, and the program's context, through `captured`, which is on the stack of the
program: there the verifier keeps what it knows of a pointer.  A ``return`` sets `left`, ends the loop, and the
function around it leaves as well.

The verifier follows a body until a call of it changes nothing that it knows; a counter on the stack is another number
each time.  So what a body assigns outside of itself is in per-CPU memory, of whose contents the verifier knows nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.infer_loops import element_type
from trapline.frontends.bpftrace.knowledge import Variable
from trapline.frontends.bpftrace.lower_maps import MapLowerer
from trapline.frontends.bpftrace.walk import descendants
from trapline.hints import TYPE_CHECKING
from trapline.ir.builder import Builder
from trapline.ir.function import Block, Load, Op
from trapline.ir.types import I32, I64, Ptr, Space, Type, integer

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer import SiteTyper
    from trapline.frontends.bpftrace.module_builder import ModuleBuilder

# Offsets in `captured`.
_CONTEXT, _LEFT, _RESULT, _START, _POINTERS = 0, 8, 16, 24, 32
_U32_MAX = 0xFFFFFFFF


class _BodyBuilder(Builder):
    """Builds the function of a loop's body; its last parameter is the address of `captured`."""

    def __init__(self, name: str, parameters: Sequence[Type]) -> None:
        super().__init__(name, (*parameters, Ptr(Space.STACK)))
        self.captured: Op = self.function.parameters[-1]
        self._context = self.load(Ptr(Space.CTX), self.captured)

    @property
    def context(self) -> Op:
        """The context of the program that the loop belongs to."""
        return self._context


class LoopLowerer(MapLowerer):
    """Lowers loops."""

    def __init__(self, typer: SiteTyper, module: ModuleBuilder, number: int, name: str) -> None:
        super().__init__(typer, module, number, name)
        self.places: dict[Variable, Op] = {}
        # Where `break` and `continue` go, innermost loop last; empty where they end a call of the body.
        self._targets: list[tuple[Block, Block]] = []
        self._left: Op | None = None  # in a loop's body: where it says that the program ends
        self._leaves = False  # whether the current body says so anywhere
        self._bodies = 0

    # -- provided by the subclass

    def body(self, statements: Sequence[ast.Statement]) -> None:
        """Lower statements."""
        raise NotImplementedError

    def end_program(self, value: Op | None) -> None:
        """End the program: leave its own function; `value` is what a test says."""
        raise NotImplementedError

    # -- leaving

    def leave(self, value: Op | None = None) -> None:
        """End the program here, also out of loops; `value` is what a test says."""
        b = self.b
        if self._left is None:
            self.end_program(value)
            return
        self._leaves = True
        b.store(b.i64(1), self._left)
        if value is not None:
            b.store(value, b.offset(self._left, _RESULT - _LEFT))
        b.ret(b.i64(1))

    def jump_out(self, node: ast.Break | ast.Continue) -> None:
        """Lower ``break`` and ``continue``."""
        stop = isinstance(node, ast.Break)
        if self._targets:
            after, again = self._targets[-1]
            self.b.jump(after if stop else again)
        else:
            self.b.ret(self.b.i64(1 if stop else 0))

    # -- variables

    def place(self, variable: Variable) -> Op:
        """Return the address of a variable; it gets one when it is first asked for."""
        if variable not in self.places:
            size = max(variable_type(variable).size, 1)
            scratch = True if variable in self._changed_by_bodies else None
            self.places[variable] = self.b.local(size, variable.name, zero=True, scratch=scratch)
        return self.places[variable]

    @cached_property
    def _changed_by_bodies(self) -> frozenset[Variable]:
        """The variables that the body of a ``for`` assigns and something outside of it uses.

        Without those that a ``while`` looks at: the verifier must see it end.
        """
        found: set[Variable] = set()
        if self.typer.for_loops:
            everywhere = Counter(self._resolved(variables_in(self.site.probe.body)))
            for node in self.typer.for_loops:
                inside = Counter(self._resolved(variables_in(node.body)))
                found.update(v for v in self._resolved(assigned_in(node.body)) if inside[v] < everywhere[v])
            for loop in descendants(self.site.probe.body):
                if isinstance(loop, ast.While):
                    found.difference_update(self._resolved(variables_in(loop.condition)))
        return frozenset(found)

    def _resolved(self, nodes: Iterable[ast.Variable]) -> list[Variable]:
        resolved = self.typer.resolved
        return [resolved[node] for node in nodes if node in resolved]

    # -- loops

    def unroll(self, node: ast.Unroll) -> None:
        """Lower ``unroll (n) { … }``: the body n times."""
        for _ in range(self.typer.constant(node.count) or 0):
            self.body(node.body.body)

    def while_loop(self, node: ast.While) -> None:
        """Lower ``while (c) { … }``."""
        b = self.b
        head, body, after = b.new_block("while"), b.new_block("body"), b.new_block("endwhile")
        b.jump(head)
        b.start(head)
        self.branch_on(node.condition, body, after)
        b.start(body)
        self._targets.append((after, head))
        self.body(node.body.body)
        self._targets.pop()
        b.jump(head)
        b.start(after)

    def for_loop(self, node: ast.For) -> None:
        """Lower ``for $i : a..b { … }`` and ``for $kv : @m { … }``."""
        if isinstance(node.iterable, ast.Range):
            self._for_range(node, node.iterable)
        else:
            assert isinstance(node.iterable, ast.MapName)
            self._for_map(node, node.iterable)

    def _for_range(self, node: ast.For, bounds: ast.Range) -> None:
        b = self.b
        variable = self.typer.resolved[node.target]
        kind = self.typer.types[node.iterable]
        start, end = self.number(bounds.start), self.number(bounds.end)
        sign = "s" if isinstance(kind, t.IntT) and kind.signed else "u"
        distance = b.binary("sub", end, start)
        least = b.compare("ult", distance, b.i64(_U32_MAX))
        count = b.select(least, distance, b.i64(_U32_MAX))  # more than the kernel accepts: it says E2BIG
        count = b.select(b.compare(sign + "lt", start, end), count, b.i64(0))

        def begin(body: _BodyBuilder) -> None:
            index = body.function.parameters[0]
            number = body.binary("add", body.load(I64, body.offset(body.captured, _START)), index)
            place = self.place(variable)
            body.store(body.resize(number, integer(variable_type(variable).size), signed=True), place)

        name, captured = self._lower_body(node, (I64,), begin)
        b.store(start, b.offset(captured, _START))
        # Where the verifier puts the loop in place of the call, an error has 32 bits.
        result = b.resize(b.helper("loop", count, b.function_address(name), captured, b.i64(0)), I32, signed=True)
        with b.when(b.compare("slt", result, b.i32(0))):
            self.fault("helper", "loop", node, result)
        self._leave_too(captured)

    def _for_map(self, node: ast.For, name: ast.MapName) -> None:
        b = self.b
        info = self.knowledge.maps[name.name]
        variable = self.typer.resolved[node.target]
        own = element_type(info)

        def begin(body: _BodyBuilder) -> None:
            _, key, value, _ = body.function.parameters
            kind = variable_type(variable)
            assert isinstance(kind, t.TupleT)
            pair = self.place(variable)
            at = body.offset(pair, kind.offsets[0])
            self.copy_part(key, own.elements[0], at, kind.elements[0])
            target = body.offset(pair, kind.offsets[1])
            if isinstance(info.value, t.AggregateT):
                number = self.merge_parts(info.name, at, info.value)[2]
                body.store(self.convert(number, own.elements[1], kind.elements[1]), target)
            else:
                self.copy_part(value, own.elements[1], target, kind.elements[1])

        function, captured = self._lower_body(node, (Ptr(Space.MAPREF), Ptr(Space.MAP), Ptr(Space.MAP)), begin)
        b.store(b.i64(0), b.offset(captured, _START))
        b.helper("for_each_map_elem", b.map(info.name), b.function_address(function), captured, b.i64(0))
        self._leave_too(captured)

    def _lower_body(
        self, node: ast.For, parameters: Sequence[Type], begin: Callable[[_BodyBuilder], None]
    ) -> tuple[str, Op]:
        """Lower a body to a function; return its name and the address of what it captures, which is filled here.

        Args:
            node: the loop.
            parameters: what the kernel passes, but for the last one.
            begin: sets the loop's variable.
        """
        outer = self.b
        used = set(self._resolved(variables_in(node.body)))
        shared = [v for v in self.places if v in used]
        pointers = [*(self.places[v] for v in shared), *self.checked_pointers.values()]
        pointers += [self.stash] if self.stash is not None else []
        captured = outer.local(_POINTERS + 8 * len(pointers), "captured", scratch=False)
        outer.store(outer.context, outer.offset(captured, _CONTEXT))
        for word in (_LEFT, _RESULT):
            outer.store(outer.i64(0), outer.offset(captured, word))
        for number, pointer in enumerate(pointers):
            outer.store(pointer, outer.offset(captured, _POINTERS + 8 * number))
        self._bodies += 1
        body = _BodyBuilder(f"{self.name}_loop{self._bodies}", parameters)
        body.span = outer.span
        inside: list[Op] = []
        for number in range(len(pointers)):
            at = body.offset(body.captured, _POINTERS + 8 * number)
            inside.append(body.emit(Load(Ptr(Space.STACK), at, align=8)))
        kept = (self.places, self._targets, self._left, self.checked_pointers, self.stash)
        self.b = body
        self.places, self._targets = dict(zip(shared, inside, strict=False)), []
        self.checked_pointers = dict(zip(self.checked_pointers, inside[len(shared) :], strict=False))
        self._left, self._leaves = body.offset(body.captured, _LEFT), False
        if self.stash is not None:
            self.stash = inside[-1]
        begin(body)
        self.body(node.body.body)
        self.subprograms[body.function.name] = body.finish()
        self.b = outer
        self.places, self._targets, self._left, self.checked_pointers, self.stash = kept
        return body.function.name, captured

    def _leave_too(self, captured: Op) -> None:
        """Leave where the loop's body did."""
        if self._leaves:
            b = self.b
            self._leaves = False
            with b.when(b.truth(b.load(I64, b.offset(captured, _LEFT)))):
                self.leave(b.load(I64, b.offset(captured, _RESULT)))


def variable_type(variable: Variable) -> t.Type:
    """Return the type that a variable's memory has."""
    return t.decay(variable.type)


def variables_in(node: ast.Node) -> Iterator[ast.Variable]:
    """Yield every variable that stands somewhere in a part of the program."""
    return (item for item in descendants(node) if isinstance(item, ast.Variable))


def assigned_in(node: ast.Node) -> Iterator[ast.Variable]:
    """Yield every variable that a part of the program assigns."""
    for item in descendants(node):
        target = item.target if isinstance(item, ast.Assign) else item.operand if isinstance(item, ast.Unary) else None
        if isinstance(target, ast.Variable):
            yield target
