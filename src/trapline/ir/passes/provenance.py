"""Find out where the pointers of `Space.INFER` point.

A front end for C knows little of where a pointer comes from: ``p = bpf_map_lookup_elem(…)`` and ``p = task->mm`` are
variables of pointer type, in memory.  This pass follows values through variables, selections, arithmetic and
subprograms, without regard to order, and writes the answer into the operations' types::

    %1: ptr<stack> = local 8 'p'                       the same
    %2: ptr<map> = helper map_lookup_elem(…)           the same
    store %2 -> %1                                     the same
    %3: ptr<infer> = load %1                           %3: ptr<map> = load %1
    %4: ptr<infer> = offset %3 + 8                     %4: ptr<map> = offset %3 + 8
    %5: ptr<infer> = load %4                           %5: ptr<unknown> = load %4

Where two kinds of memory that a program may read directly meet, the result may be read directly; where one of them
needs a probe read, the result needs one too (which reads any kernel memory, and so the other kind as well).
"""

from __future__ import annotations

from collections.abc import Iterable

from trapline.ir import function as f
from trapline.ir.spec import ModuleSpec, ProgramSpec
from trapline.ir.types import Ptr, Space

# Programs whose context holds pointers that the verifier knows the types of.
_TYPED_CONTEXTS = frozenset({"TRACING", "LSM"})

# Programs whose context leads to packets and sockets, also by numbers (``skb->data``), and that cannot probe memory.
NETWORK_TYPES = frozenset(
    {
        "SOCKET_FILTER",
        "SCHED_CLS",
        "SCHED_ACT",
        "XDP",
        "CGROUP_SKB",
        "CGROUP_SOCK",
        "CGROUP_SOCK_ADDR",
        "CGROUP_SOCKOPT",
        "CGROUP_DEVICE",
        "CGROUP_SYSCTL",
        "LWT_IN",
        "LWT_OUT",
        "LWT_XMIT",
        "SOCK_OPS",
        "SK_SKB",
        "SK_MSG",
        "SK_LOOKUP",
        "SK_REUSEPORT",
        "FLOW_DISSECTOR",
    }
)

# Helpers that fill the memory that their first argument points to.
_WRITERS = frozenset(
    {
        "probe_read",
        "probe_read_kernel",
        "probe_read_user",
        "probe_read_str",
        "probe_read_kernel_str",
        "probe_read_user_str",
        "copy_from_user",
        "get_current_comm",
    }
)

_INFER = Ptr(Space.INFER)


def infer_provenance(module: ModuleSpec) -> None:
    """Give every pointer of the module a space other than INFER."""
    for program in module.programs:
        functions = (program.function, *program.subprograms)
        if any(op.type == _INFER for function in functions for op in (*function.parameters, *function.ops())):
            _Solver(program, functions).solve()


def join(a: Space | None, b: Space | None) -> Space | None:
    """Return the space of a pointer that comes from `a` or from `b`; ``None`` is "from nowhere yet" (null, too)."""
    if a is None or a is b:
        return b
    if b is None:
        return a
    if a.direct and b.direct:
        # A context keeps its own rules, a BTF-typed pointer may not be written to: the stricter one wins.
        return next(s for s in (Space.CTX, Space.BTF, Space.PACKET, Space.MAP, Space.RECORD) if s in (a, b))
    return Space.UNKNOWN


class _Solver:
    """Iterates the rules over one program until nothing changes."""

    def __init__(self, program: ProgramSpec, functions: Iterable[f.Function]) -> None:
        self._functions = {function.name: function for function in functions}
        self._entry = program.function
        self._typed_context = program.type in _TYPED_CONTEXTS
        self._network = program.type in NETWORK_TYPES
        self._spaces: dict[f.Op, Space] = {}
        self._returns: dict[str, Space | None] = {}
        # What is stored in each variable, by byte offset; ``None`` stands for an offset that is not constant.
        self._cells: dict[f.Local, dict[int | None, Space | None]] = {}
        # What is stored through pointers that are not known to be into one variable.
        self._wild: Space | None = None
        self._escaped: set[f.Local] = set()
        self._places: dict[f.Op, tuple[f.Local, int | None] | None] = {}
        self._changed = False

    def solve(self) -> None:
        work = [(function, op) for function in self._functions.values() for op in function.ops() if _matters(op)]
        for _, op in work:
            self._note_escapes(op)
        self._changed = True
        while self._changed:
            self._changed = False
            for function, op in work:
                self._apply(function, op)
        for function in self._functions.values():
            for value in (*function.parameters, *function.ops()):
                if value.type == _INFER:
                    value.type = Ptr(self._spaces.get(value, Space.UNKNOWN))
            if function.returns == _INFER:
                function.returns = Ptr(self._returns.get(function.name) or Space.UNKNOWN)

    # -- lattice

    def _space(self, op: f.Op) -> Space | None:
        if not isinstance(op.type, Ptr) or (isinstance(op, f.Const) and op.value == 0):
            return None
        if op.type.space is Space.INFER:
            return self._spaces.get(op)
        return op.type.space

    def _join_value(self, op: f.Op, space: Space | None) -> None:
        if op.type != _INFER or space is None:
            return
        new = join(self._spaces.get(op), space)
        if new is not None and new is not self._spaces.get(op):
            self._spaces[op] = new
            self._changed = True

    def _join_cell(self, local: f.Local, offset: int | None, space: Space | None) -> None:
        cells = self._cells.setdefault(local, {})
        new = join(cells.get(offset), space)
        if new is not cells.get(offset):
            cells[offset] = new
            self._changed = True

    def _cell(self, local: f.Local, offset: int | None) -> Space | None:
        cells = self._cells.get(local, {})
        result = self._wild if local in self._escaped else None
        if offset is None:
            for space in cells.values():
                result = join(result, space)
            return result
        return join(join(result, cells.get(offset)), cells.get(None))

    # -- places

    def _place(self, op: f.Op) -> tuple[f.Local, int | None] | None:
        """Return the variable that a pointer points into, and its offset, if it is known to point into one."""
        if isinstance(op, f.Local):
            return op, 0
        if op in self._places:
            return self._places[op]
        place = None
        if isinstance(op, f.Offset):
            base = self._place(op.pointer)
            if base is not None:
                known = base[1] is not None and op.index is None
                place = base[0], base[1] + op.constant if known and base[1] is not None else None
        elif isinstance(op, f.Convert) and op.operation == "space":
            place = self._place(op.value)
        self._places[op] = place
        return place

    def _note_escapes(self, op: f.Op) -> None:
        if isinstance(op, (f.Offset, f.Load)) or (isinstance(op, f.Convert) and op.operation == "space"):
            return
        for used in op.operands():
            if isinstance(op, f.Store) and used is op.pointer:
                continue
            place = self._place(used)
            if place is not None:
                self._escaped.add(place[0])

    # -- rules

    def _apply(self, function: f.Function, op: f.Op) -> None:
        if isinstance(op, f.Load):
            self._join_value(op, self._loaded(op.pointer))
        elif isinstance(op, f.Store):
            self._stored(op)
        elif isinstance(op, f.Offset):
            self._join_value(op, self._space(op.pointer))
        elif isinstance(op, f.Select):
            self._join_value(op, join(self._space(op.then), self._space(op.other)))
        elif isinstance(op, f.Convert):
            made = Space.PACKET if self._network else Space.UNKNOWN
            self._join_value(op, made if op.operation == "inttoptr" else self._space(op.value))
        elif isinstance(op, f.Barrier):
            if op.value is not None:
                self._join_value(op, self._space(op.value))
        elif isinstance(op, f.Copy):
            self._copied(op)
        elif isinstance(op, f.Helper):
            self._called_helper(op)
        elif isinstance(op, f.Call):
            callee = self._functions.get(op.name)
            if callee is not None:
                for param, argument in zip(callee.parameters, op.arguments, strict=False):
                    self._join_value(param, self._space(argument))
                returned = callee.returns.space if isinstance(callee.returns, Ptr) else None
                self._join_value(op, self._returns.get(op.name) if returned is Space.INFER else returned)
        elif isinstance(op, f.Kfunc):
            self._join_value(op, Space.BTF)
        elif isinstance(op, f.Return) and op.value is not None:
            new = join(self._returns.get(function.name), self._space(op.value))
            if new is not self._returns.get(function.name):
                self._returns[function.name] = new
                self._changed = True

    def _loaded(self, pointer: f.Op) -> Space | None:
        """Return what a pointer is that is read from memory at `pointer`."""
        place = self._place(pointer)
        if place is not None:
            return self._cell(*place)
        space = self._space(pointer)
        if space is None:
            return None
        if space is Space.CTX and self._typed_context:
            return Space.BTF
        if space is Space.CTX and self._network:
            return Space.PACKET
        return Space.UNKNOWN

    def _stored(self, op: f.Store) -> None:
        space = self._space(op.value)
        if space is None:
            return
        place = self._place(op.pointer)
        if place is not None:
            self._join_cell(place[0], place[1], space)
            return
        if self._space(op.pointer) is Space.STACK:
            new = join(self._wild, space)
            if new is not self._wild:
                self._wild = new
                self._changed = True

    def _copied(self, op: f.Copy) -> None:
        target = self._place(op.target)
        if target is None:
            return
        local, start = target
        source = self._place(op.source)
        if source is None or source[1] is None or start is None:
            if source is None:
                self._join_cell(local, None, Space.UNKNOWN)
            else:
                self._join_cell(local, None, self._cell(source[0], None))
            return
        for offset, space in tuple(self._cells.get(source[0], {}).items()):
            if offset is None:
                self._join_cell(local, None, space)
            elif source[1] <= offset < source[1] + op.size:
                self._join_cell(local, start + offset - source[1], space)

    def _called_helper(self, op: f.Helper) -> None:
        self._join_value(op, Space.MAP if op.name in ("map_lookup_elem", "map_lookup_percpu_elem") else Space.UNKNOWN)
        if op.name in _WRITERS and op.arguments:
            place = self._place(op.arguments[0])
            if place is not None:
                self._join_cell(place[0], place[1], Space.UNKNOWN)
        callback = next((a for a in op.arguments if isinstance(a, f.FunctionAddress)), None)
        if callback is None or callback.name not in self._functions:
            return
        parameters = self._functions[callback.name].parameters
        context = self._space(op.arguments[2]) if len(op.arguments) > 2 else None
        if op.name == "loop":  # long callback(u32 index, void *context)
            spaces: tuple[Space | None, ...] = (None, context)
        else:  # for_each_map_elem: long callback(map, const void *key, void *value, void *context)
            spaces = (Space.MAPREF, Space.MAP, Space.MAP, context)
        for param, space in zip(parameters, spaces, strict=False):
            self._join_value(param, space)


def _matters(op: f.Op) -> bool:
    if isinstance(op, (f.Store, f.Copy, f.Helper, f.Call, f.Kfunc, f.Return)):
        return True
    return op.type == _INFER
