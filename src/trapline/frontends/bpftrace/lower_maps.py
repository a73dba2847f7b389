"""Lower what is done with maps: look up, store, step in place, aggregate, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.knowledge import MapInfo
from trapline.frontends.bpftrace.lower_base import is_signed
from trapline.frontends.bpftrace.lower_expressions import ExpressionLowerer
from trapline.frontends.bpftrace.module_builder import in_array, is_set_offset, key_size
from trapline.ir.buckets import BUCKET_BYTES
from trapline.ir.function import Op
from trapline.ir.types import I64, Ptr, Space, integer

_BPF_NOEXIST = 1


class MapLowerer(ExpressionLowerer):
    """Lowers map accesses."""

    def info(self, node: ast.MapName | ast.MapElement) -> MapInfo:
        """Return what is known of the map of an access."""
        name = node if isinstance(node, ast.MapName) else node.map
        return self.knowledge.maps[name.name]

    # -- keys

    def key(self, node: ast.MapName | ast.MapElement) -> Op:
        """Build the key of an access; return its address (a histogram's bucket index is left 0 at its end)."""
        keys = node.keys if isinstance(node, ast.MapElement) else ()
        return self.key_of(self.info(node), keys)

    def key_of(self, info: MapInfo, keys: Sequence[ast.Expr]) -> Op:
        """Build a key of a map; return its address."""
        size = key_size(info)
        if not keys:
            return self.b.local(size, "key", zero=True)
        key = self.b.local(size, "key", zero=size != info.key.size or not t.is_scalar(info.key))
        kinds = info.key.elements if isinstance(info.key, t.TupleT) and len(keys) > 1 else (info.key,)
        for node, kind, offset in zip(keys, kinds, t.layout(kinds)[0], strict=True):
            self.into(node, self.b.offset(key, offset), kind)
        return key

    # -- reading

    def _lookup(self, node: ast.MapName | ast.MapElement) -> Op:
        return self.b.map_lookup(self.info(node).name, self.key(node))

    def _read(
        self, node: ast.MapName | ast.MapElement, found: Callable[[Op], None], missing: Callable[[], None]
    ) -> None:
        b = self.b
        pointer = self._lookup(node)
        yes, no, after = b.new_block("found"), b.new_block("missing"), b.new_block("read")
        b.branch(b.compare("ne", pointer, b.null(Space.MAP)), yes, no)
        b.start(yes)
        found(pointer)
        b.jump(after)
        b.start(no)
        if self.knowledge.options.warnings:
            self.fault("missing_key", "map_lookup_elem", node, b.i64(0))
        missing()
        b.jump(after)
        b.start(after)

    def map_value(self, node: ast.MapName | ast.MapElement) -> Op:
        """Return the scalar value of a map's element; 0 when there is none."""
        info = self.info(node)
        if isinstance(info.value, t.AggregateT):
            return self.aggregate_sum(node, info.value)[2]
        b = self.b
        type_ = integer(info.value.size)
        result = b.local(8, "value")
        self._read(
            node,
            lambda pointer: self._keep(b.load(type_, pointer), result),
            lambda: self._keep(b.const(type_, 0), result),
        )
        return b.load(type_, result)

    def _keep(self, value: Op, place: Op) -> None:
        self.b.store(value, place)

    def map_into(self, node: ast.MapName | ast.MapElement, target: Op, type_: t.Type) -> None:
        """Write the value of a map's element to memory; zeros when there is none."""
        own = self.info(node).value
        self._read(
            node,
            lambda pointer: self.copy(pointer, own, target, type_),
            lambda: self._clear(target, type_),
        )

    def _clear(self, target: Op, type_: t.Type) -> None:
        if isinstance(type_, t.StringT):
            self.store_bytes(target, b"\0")
        else:
            self.b.fill(target, type_.size)

    def aggregate_sum(self, node: ast.MapName | ast.MapElement, type_: t.AggregateT) -> tuple[Op, Op, Op]:
        """Merge the CPUs' parts of an aggregate.

        Returns:
            Its two words (see `trapline.ir.values`; the second is 0 where there is none), and the number it stands for.
        """
        return self.merge_parts(self.info(node).name, self.key(node), type_)

    def merge_parts(self, name: str, key: Op, type_: t.AggregateT) -> tuple[Op, Op, Op]:
        """Merge the CPUs' parts of the aggregate of map `name` whose key is at `key`, as `aggregate_sum` does."""
        b = self.b
        first, second, cpu = (b.variable(b.i64(0), n) for n in ("total", "count", "cpu"))
        head, body, merge, advance, after = (b.new_block(n) for n in ("cpus", "cpu", "merge", "advance", "merged"))
        b.jump(head)
        b.start(head)
        index = b.load(I64, cpu)
        b.branch(b.compare("ult", index, b.i64(self.knowledge.target.possible_cpus)), body, after)
        b.start(body)
        low = b.resize(index, integer(4), signed=False)
        part = b.helper("map_lookup_percpu_elem", b.map(name), key, low, returns=Ptr(Space.MAP))
        b.branch(b.compare("ne", part, b.null(Space.MAP)), merge, advance)
        b.start(merge)
        if type_.kind in ("min", "max"):
            self._merge_extreme(part, first, second, type_)
        else:
            b.store(b.binary("add", b.load(I64, first), b.load(I64, part)), first)
            if type_.size == 16:
                b.store(b.binary("add", b.load(I64, second), b.load(I64, b.offset(part, 8))), second)
        b.jump(advance)
        b.start(advance)
        b.store(b.binary("add", b.load(I64, cpu), b.i64(1)), cpu)
        b.jump(head)
        b.start(after)
        total, count = b.load(I64, first), b.load(I64, second)
        if type_.kind != "avg":
            return total, count, total
        safe = b.select(b.compare("eq", count, b.i64(0)), b.i64(1), count)
        return total, count, b.binary("sdiv" if type_.signed else "udiv", total, safe)

    def _merge_extreme(self, part: Op, first: Op, second: Op, type_: t.AggregateT) -> None:
        b = self.b
        with b.when(b.truth(b.load(I64, b.offset(part, 8)))):
            value = b.load(I64, part)
            better = self._better(type_, value, b.load(I64, first))
            unset = b.compare("eq", b.load(I64, second), b.i64(0))
            with b.when(b.binary("or", unset, better)):
                b.store(value, first)
                b.store(b.i64(1), second)

    def _better(self, type_: t.AggregateT, value: Op, old: Op) -> Op:
        sign = "s" if type_.signed else "u"
        return self.b.compare(sign + ("lt" if type_.kind == "min" else "gt"), value, old)

    # -- writing

    def store_map(self, target: ast.MapName | ast.MapElement, node: ast.Expr, source: ast.Node) -> None:
        """Lower ``@m[k] = value``."""
        info = self.info(target)
        if t.is_scalar(info.value):
            own = self.type(node)
            value = self.value(node)
            converted = self.convert(value, self.typer.read(own), info.value)
            self.store_scalar(info, self.key(target), converted, source)
            return
        value = self.temporary(info.value, "value")
        if not isinstance(info.value, t.StringT):
            self.b.fill(value, info.value.size)
        self.into(node, value, info.value)
        self.check_update(self.b.map_update(info.name, self.key(target), value), source)

    def store_scalar(self, info: MapInfo, key: Op, value: Op, source: ast.Node) -> None:
        """Write a scalar in place when the element exists, else insert it."""
        b = self.b
        if in_array(info):
            self._change_in_array(info, key, lambda place: self._keep(value, place))
            return
        pointer = b.map_lookup(info.name, key)
        there, insert, after = b.new_block("there"), b.new_block("insert"), b.new_block("stored")
        b.branch(b.compare("ne", pointer, b.null(Space.MAP)), there, insert)
        b.start(there)
        b.store(value, pointer)
        b.jump(after)
        b.start(insert)
        self.check_update(b.map_update(info.name, key, b.variable(value, "initial")), source)
        b.jump(after)
        b.start(after)

    def add_in_place(self, target: ast.MapName | ast.MapElement, delta: Op, source: ast.Node) -> Op:
        """Add an i64 to an 8-byte element atomically (a missing one counts as 0); return the old value."""
        b = self.b
        old = b.variable(b.i64(0), "old")

        def add(place: Op) -> None:
            b.store(b.atomic("add", place, delta, fetch=True), old)

        self._change_or_insert_zeros(self.info(target), self.key(target), 1, add, source)
        return b.load(I64, old)

    def _change_or_insert_zeros(
        self, info: MapInfo, key: Op, words: int, change: Callable[[Op], None], source: ast.Node
    ) -> None:
        """Change an element of some words; a missing one is inserted first, unless another program is faster."""
        b = self.b
        if in_array(info):
            self._change_in_array(info, key, change)
            return
        pointer = b.variable(b.map_lookup(info.name, key), "element")
        space = Ptr(Space.MAP)
        with b.when(b.compare("eq", b.load(space, pointer), b.null(Space.MAP))):
            zeros = b.local(8 * words, "zeros", zero=True)
            b.map_update(info.name, key, zeros, _BPF_NOEXIST)
            b.store(b.map_lookup(info.name, key), pointer)
        found = b.load(space, pointer)
        there, full, after = b.new_block("there"), b.new_block("full"), b.new_block("changed")
        b.branch(b.compare("ne", found, b.null(Space.MAP)), there, full)
        b.start(there)
        change(found)
        b.jump(after)
        b.start(full)
        self.fault("map_full", "map_update_elem", source, b.i64(-7))  # -E2BIG
        b.jump(after)
        b.start(after)

    def _change_in_array(self, info: MapInfo, key: Op, change: Callable[[Op], None]) -> None:
        """Change an element of an array, where all are zero at first, and remember that it was set."""
        b = self.b
        place = b.map_lookup(info.name, key)
        with b.when(b.compare("ne", place, b.null(Space.MAP))):
            change(place)
            if not (isinstance(info.value, t.AggregateT) and info.value.histogram):
                b.store(b.i64(1), b.offset(place, is_set_offset(info.value)))

    def assign_map(self, node: ast.Assign, target: ast.MapName | ast.MapElement) -> None:
        """Lower an assignment to a map, compound ones included."""
        value = node.value
        if not node.op:
            self.store_map(target, value, node)
            return
        info = self.info(target)
        if node.op in ("+", "-") and isinstance(info.value, t.IntT) and info.value.size == 8:
            delta = self.number(value)
            if node.op == "-":
                delta = self.b.binary("sub", self.b.i64(0), delta)
            self.add_in_place(target, delta, node)
            return
        old = self.b.resize(self.map_value(target), I64, signed=is_signed(info.value))
        operand = self.number(value)
        if isinstance(info.value, t.PtrT):
            operand = self.b.binary("mul", operand, self.b.i64(max(1, info.value.target.size)))
        result = self.arithmetic(node.op, old, operand, self.signed_together(info.value, value), node)
        result = self.b.resize(result, integer(info.value.size), signed=True)
        self.store_scalar(info, self.key(target), result, node)

    def signed_together(self, old: t.Type, value: ast.Expr) -> bool:
        """Tell whether ``old op= value`` computes with signs."""
        kind = self.type(value)
        unsigned = isinstance(old, t.IntT) and not old.signed
        return not (unsigned and (not is_signed(kind) or (isinstance(kind, t.IntT) and kind.flexible)))

    def step(self, node: ast.Unary) -> Op:
        """Lower ``++`` and ``--``: of maps atomically."""
        b = self.b
        target = node.operand
        type_ = self.type(node)
        scale = max(1, type_.target.size) if isinstance(type_, t.PtrT) else 1
        delta = b.i64(scale if node.op == "++" else -scale)
        if isinstance(target, ast.Variable):
            place = self.address(target)
            width = integer(self.type(target).size)
            old = b.resize(b.load(width, place), I64, signed=is_signed(type_))
            new = b.binary("add", old, delta)
            b.store(b.resize(new, width, signed=True), place)
        else:
            assert isinstance(target, ast.MapName | ast.MapElement)
            old = self.add_in_place(target, delta, node)
            new = b.binary("add", old, delta)
        return b.resize(old if node.postfix else new, integer(type_.size), signed=True)

    # -- aggregates

    def update_part(
        self, info: MapInfo, key: Op, change: Callable[[Op], None], initial: Sequence[Op], source: ast.Node
    ) -> None:
        """Change this CPU's part of an aggregate, or insert it with the words `initial`.

        Where the program may be interrupted by one that inserts the same element, it inserts zeros and then changes
        what is there: `change` must do the same to zeros.
        """
        b = self.b
        if info.interrupted or in_array(info):
            self._change_or_insert_zeros(info, key, len(initial), change, source)
            return
        pointer = b.map_lookup(info.name, key)
        there, insert, after = b.new_block("there"), b.new_block("insert"), b.new_block("aggregated")
        b.branch(b.compare("ne", pointer, b.null(Space.MAP)), there, insert)
        b.start(there)
        change(pointer)
        b.jump(after)
        b.start(insert)
        part = b.local(8 * len(initial), "part")
        for index, word in enumerate(initial):
            b.store(word, b.offset(part, 8 * index))
        self.check_update(b.map_update(info.name, key, part), source)
        b.jump(after)
        b.start(after)

    def add_words(self, info: MapInfo, key: Op, words: Sequence[Op], source: ast.Node) -> None:
        """Add to the words of this CPU's part."""
        b = self.b

        def change(pointer: Op) -> None:
            for index, word in enumerate(words):
                place = b.offset(pointer, 8 * index)
                if info.interrupted:
                    b.atomic("add", place, word)
                else:
                    b.store(b.binary("add", b.load(I64, place), word), place)

        self.update_part(info, key, change, words, source)

    def keep_extreme(self, info: MapInfo, key: Op, value: Op, type_: t.AggregateT, source: ast.Node) -> None:
        """Let this CPU's part keep the least or greatest value."""
        b = self.b

        def change(pointer: Op) -> None:
            unset = b.compare("eq", b.load(I64, b.offset(pointer, 8)), b.i64(0))
            better = self._better(type_, value, b.load(I64, pointer))
            with b.when(b.binary("or", unset, better)):
                b.store(value, pointer)
                b.store(b.i64(1), b.offset(pointer, 8))

        self.update_part(info, key, change, (value, b.i64(1)), source)

    def store_bucket(self, info: MapInfo, key: Op, bucket: Op) -> None:
        """Write the index of a bucket to the end of a key."""
        place = self.b.offset(key, key_size(info) - BUCKET_BYTES)
        self.b.store(self.b.resize(bucket, integer(BUCKET_BYTES), signed=False), place)

    def count_bucket(self, info: MapInfo, key: Op, bucket: Op, source: ast.Node) -> None:
        """Count one in a histogram's bucket."""
        self.store_bucket(info, key, bucket)
        self.add_words(info, key, (self.b.i64(1),), source)
