"""Names of the kernel's flags."""

from __future__ import annotations

import pytest

from trapline.abi.flag_names import GFP, flag_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0xCC0, "GFP_KERNEL"),
        (0x100CCA, "GFP_HIGHUSER|0x8"),
        (0x2A20, "GFP_ATOMIC|__GFP_NOWARN|0x200"),
        (0x10000000, "0x10000000"),
        (0xCC5, "GFP_KERNEL|GFP_DMA|GFP_DMA32"),
    ],
)
def test_gfp_flags(value: int, text: str) -> None:
    assert flag_text(GFP, value) == text
