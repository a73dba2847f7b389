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
# What stands for several flags, in the order of include/trace/events/mmflags.h: what has most of them comes first.
_GFP_SETS = (
    (0x21C24CA, "GFP_TRANSHUGE"),
    (0x21C20CA, "GFP_TRANSHUGE_LIGHT"),
    (0x2100CCA, "GFP_HIGHUSER_MOVABLE"),
    (0x0100CC2, "GFP_HIGHUSER"),
    (0x0100CC0, "GFP_USER"),
    (0x0400CC0, "GFP_KERNEL_ACCOUNT"),
    (0x0000CC0, "GFP_KERNEL"),
    (0x0000C40, "GFP_NOFS"),
    (0x0000820, "GFP_ATOMIC"),
    (0x0000C00, "GFP_NOIO"),
    (0x0002800, "GFP_NOWAIT"),
    (0x0000001, "GFP_DMA"),
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
