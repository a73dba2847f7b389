"""Globs and similar names."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trapline.kernel.patterns import compile_pattern, is_pattern
from trapline.kernel.probes import near_names


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("vfs_*", ["vfs_", "vfs_read"], ["xvfs_read", "vfs"]),
        ("*sleep*", ["do_nanosleep", "sleep", "sleeper"], ["slee"]),
        ("*_read", ["vfs_read", "a_read_read"], ["vfs_reads"]),
        ("a*b*c", ["abc", "aXbYc", "abcbc"], ["acb", "abcd"]),
        ("vfs_?ead", ["vfs_read"], ["vfs_ead", "vfs_rread"]),
        ("[ab]x", ["ax", "bx"], ["cx", "x"]),
        ("[!ab]x", ["cx"], ["ax", "bx"]),
        ("[a-c]1", ["b1"], ["d1"]),
        ("f.isra.0", ["f.isra.0"], ["fXisraX0"]),
        ("a[b", ["a[b"], ["ab"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    match = compile_pattern(pattern).match
    assert all(match(name) for name in yes)
    assert not any(match(name) for name in no)


@given(st.text("ab_*?", max_size=8), st.text("ab_", max_size=8))
def test_globs_agree_with_the_standard_library(pattern: str, name: str) -> None:
    assert bool(compile_pattern(pattern).match(name)) == fnmatch.fnmatchcase(name, pattern)


@given(st.text("ab[]!^-*?\\", max_size=10), st.text("ab[]!^-\\", max_size=6))
def test_no_pattern_is_an_error(pattern: str, name: str) -> None:
    compile_pattern(pattern).match(name)  # whatever it is, it is some pattern


def test_is_pattern() -> None:
    assert is_pattern("a*") and is_pattern("a?") and is_pattern("[a]") and not is_pattern("a.isra.0")


def test_near_names_ranks_the_closest_first() -> None:
    names = [f"function_{i}" for i in range(1000)] + ["do_nanosleep", "do_cpu_nanosleep", "nanosleep"]
    assert near_names("do_nanoslep", names)[0] == "do_nanosleep"
    assert near_names("zzz", names) == []
    assert near_names("x", names) == []
