"""Types of kernel modules, for a text that names some that the kernel proper has not.

A module's own BTF is complete: it repeats what it uses of other modules. So the types of one module are enough, the
one that has most of what is missing.
"""

from __future__ import annotations

from collections.abc import Collection

from trapline.btf import Btf
from trapline.btf import types as t
from trapline.ir.target import Target


def find_module_types(target: Target, missing: Collection[str]) -> Btf | None:
    """Return the types of the loaded module (with the kernel's below them) that has most of the names.

    Args:
        target: the machine.
        missing: tags and typedefs that the kernel's own types lack.

    Returns:
        ``None`` when no module has any.
    """
    best: tuple[int, Btf | None] = 0, None
    for module in target.btf_modules() if target.has_btf and missing else ():
        types = target.module_btf(module)
        if types is None:
            continue
        count = sum(types.find(name, t.Struct, t.Union, t.Enum, t.Enum64, t.Typedef) is not None for name in missing)
        if count > best[0]:
            best = count, types
        if count == len(missing):
            break
    return best[1]
