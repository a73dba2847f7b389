"""IR→IR passes, in the order in which they run."""

from __future__ import annotations

from trapline.ir.passes.clone import clone_module
from trapline.ir.passes.dereference import read_indirect
from trapline.ir.passes.division import lower_divisions
from trapline.ir.passes.frame import BUDGET, place_locals
from trapline.ir.passes.provenance import infer_provenance
from trapline.ir.passes.read_faults import count_read_faults
from trapline.ir.passes.share_calls import share_calls
from trapline.ir.passes.short_keys import split_long_keys
from trapline.ir.spec import ModuleSpec

__all__ = ["BUDGET", "run"]


def run(module: ModuleSpec, frame_budget: int = BUDGET) -> ModuleSpec:
    """Run every pass; the module that is given stays unchanged.

    Args:
        module: from a front end.
        frame_budget: bytes of frame that the variables of a program may take.

    Raises:
        SemanticError: the program writes to memory that it may only read.
        FeatureMissingError: its variables are too large.
    """
    module = clone_module(module)
    infer_provenance(module)
    read_indirect(module)
    share_calls(module)
    module = split_long_keys(module)
    module = count_read_faults(module)
    lower_divisions(module)
    return place_locals(module, frame_budget)
