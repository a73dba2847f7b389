"""Count the probe reads that fail, each at its place in the text; only for modules that ask for it (``-k``).

A block ends behind every probe read that has a place; what failed is counted in ``.faults``::

    %4: i64 = helper probe_read_kernel(%0, …)      %4: i64 = helper probe_read_kernel(%0, …)
    …                                              branch (trunc %4) < 0, failed, after
                                                 failed:
                                                   %5 = helper map_lookup_elem(.faults, site)
                                                   branch %5 != 0, count, after
                                                 count:
                                                   *%5 += 1; *(%5 + 8) = %4
                                                 after:
                                                   …
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.spec import FAULTS, FaultSite, MapSpec, ModuleSpec
from trapline.ir.types import I32, I64, Space
from trapline.records import replace

READS = frozenset(
    f"probe_read{where}{what}" for where in ("", "_kernel", "_user") for what in ("", "_str")
)  # the helpers whose failures count
_ENTRY_BYTES = 16


def count_read_faults(module: ModuleSpec) -> ModuleSpec:
    """Return the module with its failing reads counted; unchanged when it does not ask for it."""
    if not module.report_reads:
        return module
    sites = {site: index for index, site in enumerate(module.faults)}
    for program in module.programs:
        for function in (program.function, *program.subprograms):
            _Rewriting(function, sites).run()
    if len(sites) == len(module.faults):
        return module
    maps = [m for m in module.maps if m.name != FAULTS]
    maps.append(MapSpec(FAULTS, "PERCPU_ARRAY", 4, _ENTRY_BYTES, len(sites)))
    return replace(module, faults=tuple(sites), maps=tuple(maps))


class _Rewriting:
    """Splits the blocks of one function."""

    def __init__(self, function: f.Function, sites: dict[FaultSite, int]) -> None:
        self._function = function
        self._sites = sites
        self._blocks: list[f.Block] = []

    def run(self) -> None:
        for block in self._function.blocks:
            ops, block.ops = block.ops, []
            self._blocks.append(block)
            for op in ops:
                self._blocks[-1].ops.append(op)
                if isinstance(op, f.Helper) and op.name in READS and op.span is not None:
                    self._check(op)
        self._function.blocks[:] = self._blocks

    def _check(self, read: f.Helper) -> None:
        """Go on in a new block, behind the counting of a failure."""
        index = self._sites.setdefault(FaultSite("helper", read.name, read.span, False), len(self._sites))
        b = Builder("")
        b.span = read.span
        first, body, after = (f.Block(f"read{index}.{len(self._blocks)}.{part}") for part in ("look", "count", "after"))
        b.block = self._blocks[-1]
        b.branch(b.compare("slt", b.resize(read, I32, signed=True), b.i32(0)), first, after)
        b.block = first
        counter = b.map_lookup(FAULTS, b.variable(b.i32(index), "fault"))
        b.branch(b.compare("ne", counter, b.null(Space.MAP)), body, after)
        b.block = body
        b.atomic("add", counter, b.i64(1))
        b.store(b.resize(b.resize(read, I32, signed=True), I64, signed=True), b.offset(counter, 8))
        b.jump(after)
        self._blocks += [first, body, after]
