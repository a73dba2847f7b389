"""A library's code can be dropped from memory, and is there again when it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trapline.shared_library import drop_code, open_library

# In a process of its own: others of this one hold the library's pages, too.
_SCRIPT = """
from trapline.codegen.llvm_library import parse_module, _open

def resident():
    total = file = 0
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0]:
            file = line.rstrip().endswith("/libllvmlite.so")
        elif words[0] == "Rss:" and file:
            total += int(words[1])
    return total

def compile_it():
    with parse_module("define i64 @f(i64 %a) {\\n  %b = add i64 %a, 1\\n  ret i64 %b\\n}", "bpf") as module:
        module.optimise()
        return module.emit_object(), resident()

_open()
opened = resident()
first, used = compile_it()
compiled = resident()
assert compile_it()[0] == first
print(opened, used, compiled)
"""


def test_dropped_code_comes_back() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    opened, used, compiled = map(int, done.stdout.split())
    assert opened < used / 2, "opening the library left its pages in memory"
    assert compiled < used / 2


def test_of_a_library_that_is_not_there_nothing_is_dropped() -> None:
    drop_code("libno-such.so")


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_text("text")
    with pytest.raises(OSError, match=r"lib\.so"):
        open_library(str(path))
