"""Bits of the kernel's flags → their names."""

from __future__ import annotations

GFP = "gfp"

# include/linux/gfp_types.h; these bits are the same in every kernel from 5.18 on (the last four: from 6.12 on).
_GFP_BITS = {
    "__GFP_HIGHMEM": 1,
    "GFP_DMA32": 2,
    "__GFP_HIGH": 5,
    "__GFP_IO": 6,
    "__GFP_FS": 7,
    "__GFP_ZERO": 8,
    "__GFP_DIRECT_RECLAIM": 10,
    "__GFP_KSWAPD_RECLAIM": 11,
    "__GFP_WRITE": 12,
    "__GFP_NOWARN": 13,
    "__GFP_RETRY_MAYFAIL": 14,
    "__GFP_NOFAIL": 15,
    "__GFP_NORETRY": 16,
    "__GFP_MEMALLOC": 17,
    "__GFP_COMP": 18,
    "__GFP_NOMEMALLOC": 19,
    "__GFP_HARDWALL": 20,
    "__GFP_THISNODE": 21,
    "__GFP_ACCOUNT": 22,
    "__GFP_ZEROTAGS": 23,
    "__GFP_SKIP_ZERO": 24,
    "__GFP_SKIP_KASAN": 25,
    "__GFP_NO_OBJ_EXT": 26,
}
_KERNEL = 0xCC0  # __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM | __GFP_IO | __GFP_FS
# What stands for several flags, those with most of them first.
_GFP_SETS = (
    (_KERNEL | 1 << 20 | 1 << 1, "GFP_HIGHUSER"),
    (_KERNEL | 1 << 22, "GFP_KERNEL_ACCOUNT"),
    (_KERNEL | 1 << 20, "GFP_USER"),
    (_KERNEL, "GFP_KERNEL"),
    (_KERNEL & ~(1 << 7), "GFP_NOFS"),
    (_KERNEL & ~(3 << 6), "GFP_NOIO"),
    (1 << 5 | 1 << 11, "GFP_ATOMIC"),
    (1 << 0, "GFP_DMA"),
)
_TABLES = {GFP: (*_GFP_SETS, *[(1 << bit, name) for name, bit in _GFP_BITS.items()])}


def flag_text(table: str, value: int) -> str:
    """Return the names of a value's flags with ``|`` between them; what has no name is a hexadecimal number."""
    names = []
    rest = value
    for mask, name in _TABLES[table]:
        if rest & mask == mask:
            names.append(name)
            rest &= ~mask
    if rest or not names:
        names.append(f"{rest:#x}" if rest else "0")
    return "|".join(names)
