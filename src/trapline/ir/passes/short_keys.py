"""Give a map with long strings or stacks in its keys a second map for its short keys (`trapline.ir.short_keys`).

A map that the front end allows it for (`MapSpec.short` names the second one), and that programs only look up, update,
delete and count in, is split; every access chooses by the key that it has::

    %9: ptr<map> = helper map_lookup_elem(@, %4)         %9: ptr<stack> = local 8 'result'
                                                         %10: i8 = load %4 + 63
                                                         branch %10 <= 0, short, long
                                                       short:
                                                         store helper map_lookup_elem(@.short, %4) -> %9
                                                       long:
                                                         store helper map_lookup_elem(@, %4) -> %9
                                                       after:
                                                         %15: ptr<map> = load %9
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.passes.clone import substitute
from trapline.ir.short_keys import KeyCut, cut_of
from trapline.ir.spec import MapSpec, ModuleSpec
from trapline.ir.types import integer
from trapline.records import replace

_ACCESSES = frozenset(("map_lookup_elem", "map_update_elem", "map_delete_elem", "map_lookup_percpu_elem"))
_COUNT = "bpf_map_sum_elem_count"


def split_long_keys(module: ModuleSpec) -> ModuleSpec:
    """Return the module with the maps split that can be; its functions are changed."""
    cuts: dict[str, KeyCut] = {}
    for map_ in module.maps:
        cut = cut_of(map_.key, map_.key_size) if map_.short else None
        if cut is not None:
            cuts[map_.name] = cut
    functions = [function for program in module.programs for function in (program.function, *program.subprograms)]
    if cuts:
        for name in _otherwise_used(functions):
            cuts.pop(name, None)
    maps: list[MapSpec] = []
    for map_ in module.maps:
        if map_.short and map_.name not in cuts:
            map_ = replace(map_, short="")
        maps.append(map_)
        if map_.short:
            size = cuts[map_.name].short_size
            maps.append(MapSpec(map_.short, map_.type, size, map_.value_size, map_.max_entries, map_.flags))
    if cuts:
        shorts = {map_.name: map_.short for map_ in maps if map_.short}
        for function in functions:
            _Splitting(function, cuts, shorts).run()
    return replace(module, maps=tuple(maps))


def _otherwise_used(functions: list[f.Function]) -> set[str]:
    """Return the maps that are used in another way than the accesses that can choose."""
    found: set[str] = set()
    for function in functions:
        for op in function.ops():
            first = 0
            if (isinstance(op, f.Helper) and op.name in _ACCESSES) or (isinstance(op, f.Kfunc) and op.name == _COUNT):
                first = 1
            found.update(used.name for used in list(op.operands())[first:] if isinstance(used, f.MapAddress))
    return found


class _Splitting:
    """Rewrites one function."""

    def __init__(self, function: f.Function, cuts: dict[str, KeyCut], shorts: dict[str, str]) -> None:
        self._function = function
        self._cuts = cuts
        self._shorts = shorts
        self._blocks: list[f.Block] = []
        self._replaced: dict[f.Op, f.Op] = {}

    def run(self) -> None:
        for block in self._function.blocks:
            ops, block.ops = block.ops, []
            self._blocks.append(block)
            for op in ops:
                name = _map_of(op)
                if name not in self._cuts:
                    self._blocks[-1].ops.append(op)
                elif isinstance(op, f.Helper):
                    self._choose(op, name)
                else:
                    self._add(op, name)
        self._function.blocks[:] = self._blocks
        substitute(self._function, self._replaced)

    def _builder(self, op: f.Op) -> Builder:
        b = Builder("")
        b.span = op.span
        b.block = self._blocks[-1]
        return b

    def _add(self, op: f.Op, name: str) -> None:
        """Add the elements of both maps, in place of those of one."""
        b = self._builder(op)
        numbers = [b.kfunc(_COUNT, b.map(map_), returns=op.type) for map_ in (name, self._shorts[name])]
        self._replaced[op] = b.binary("add", *numbers)

    def _choose(self, access: f.Helper, name: str) -> None:
        """Go on in a new block, behind the access to one of both maps."""
        cut = self._cuts[name]
        b = self._builder(access)
        part = f"key{len(self._blocks)}"
        short, long, after = (f.Block(f"{part}.{which}") for which in ("short", "long", "after"))
        map_, key, *more = access.arguments
        result = b.local(8, "result")
        fits: f.Op | None = None
        for gap in cut.gaps:
            type_ = integer(gap.width)
            one = b.compare("ule", b.load(type_, b.offset(key, gap.place)), b.const(type_, gap.most))
            fits = one if fits is None else b.binary("and", fits, one)
        assert fits is not None
        b.branch(fits, short, long)

        b.block = short
        first = b.helper(access.name, b.map(self._shorts[name]), _shortened(b, key, cut), *more, returns=access.type)
        b.store(first, result)
        b.jump(after)

        b.block = long
        second = b.helper(access.name, map_, key, *more, returns=access.type)
        b.barrier()  # one call for both maps could not be inlined by the kernel
        b.store(second, result)
        b.jump(after)

        b.block = after
        self._replaced[access] = b.load(access.type, result)
        self._blocks += [short, long, after]


def _shortened(b: Builder, key: f.Op, cut: KeyCut) -> f.Op:
    """Return the address of a cut key."""
    pieces = cut.pieces()
    if len(pieces) == 1:
        return key
    copy = b.local(cut.short_size, "short key")
    for source, target, size in pieces:
        b.copy(b.offset(copy, target), b.offset(key, source), size)
    return copy


def _map_of(op: f.Op) -> str:
    """Return the map that an operation accesses, if it is one that can choose."""
    if isinstance(op, f.Helper | f.Kfunc) and op.arguments and (op.name in _ACCESSES or op.name == _COUNT):
        map_ = op.arguments[0]
        return map_.name if isinstance(map_, f.MapAddress) else ""
    return ""
