"""C in scripts: headers on disk and the compile cache, types of modules, type tags."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.in_process import run_command_line
from tests.harness.limits import scaled

from trapline.btf import Btf, Struct
from trapline.btf import types as t
from trapline.btf.write import BtfBuilder
from trapline.engine.host import live_target
from trapline.frontends.bpftrace.compile import compile_program
from trapline.ir import passes
from trapline.ir.printer import format_module
from trapline.kernel.target import LiveTarget
from trapline.source import Source

pytestmark = [pytest.mark.limit(60), pytest.mark.one_kernel]


@pytest.mark.rows("1.12.2", "1.1.8")
def test_headers_beside_the_script_and_changes_of_them(tmp_path: Path) -> None:
    """The compile cache notices that an included header is another, and that one appears that is found earlier."""
    header, script, first = tmp_path / "limits.h", tmp_path / "script.bt", tmp_path / "first"
    header.write_text("#define LIMIT 5\nstruct pair { short a, b; };\n")
    use = "begin { print((LIMIT, OTHER, sizeof(struct pair), MORE)); exit(); }"
    script.write_text(f'#include "more.h"\n#include <other.h>\nimport "limits.h";\n{use}\n')
    (tmp_path / "more.h").write_text("#define MORE 7\n")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "other.h").write_text("enum { OTHER_START = 1 };\n#define OTHER (OTHER_START + 1)\n")
    arguments = ["-q", "-I", str(first), "-I", str(tmp_path / "second"), str(script)]
    environment = {"TRAPLINE_CACHE": str(tmp_path / "cache")}

    def printed() -> str:
        done = run_command_line(arguments, tmp_path, environment)
        assert (done.stderr, done.code) == ("", 0)
        return done.stdout.strip()

    assert [printed(), printed()] == ["(5, 2, 4, 7)"] * 2
    header.write_text("#define LIMIT 6\nstruct pair { long a, b; };\n")
    assert printed() == "(6, 2, 16, 7)"
    first.mkdir()
    (first / "other.h").write_text("#define OTHER 9\n")
    assert printed() == "(6, 9, 16, 7)"


def test_a_cached_program_needs_no_libclang(tmp_path: Path) -> None:
    program = "struct s { int a[3]; }; begin { print(sizeof(struct s)); exit(); }"
    environment = {**os.environ, "TRAPLINE_CACHE": str(tmp_path / "cache")}
    for loaded in (True, False):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "trapline", "-q", "-e", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=scaled(40),
            check=True,
        )
        assert done.stdout.strip() == "12"
        assert ("trapline.clang.c_api" in done.stderr) == loaded


@pytest.mark.needs("module_btf")
@pytest.mark.rows("1.12.6")
def test_types_of_modules_are_found_without_naming_the_module(tmp_path: Path) -> None:
    target = live_target()
    for module in target.btf_modules():
        btf = target.module_btf(module)
        assert btf is not None
        own = (btf.name_of(i) for i in btf.ids(Struct))
        tag = next((n for n in own if n and target.btf.find(n, Struct) is None), None)
        if tag is not None:
            break
    else:
        pytest.skip("lacks a module with a struct of its own")
    size = btf.size_of(btf.find(tag, Struct) or 0)
    done = run_command_line(["-q", "-e", f"begin {{ print(sizeof(struct {tag})); exit(); }}"], tmp_path, {})
    assert (done.stdout.strip(), done.stderr) == (str(size), "")
    done = run_command_line(["-lv", f"struct {tag}"], tmp_path, {})
    assert done.stdout.startswith(f"{module}: struct {tag} {{\n")


class TaggedTarget(LiveTarget):
    """This machine, with one more type: ``struct tagged { char __user *user; char __rcu *rcu; char *plain; }``."""

    @property
    def btf(self) -> Btf:  # type: ignore[override]
        w = BtfBuilder()
        char = w.append(t.Int("char", 1, 8, True))
        members = [
            (name, w.add_ptr(w.add(t.TypeTag(name, char)) if name != "plain" else char), 64 * index)
            for index, name in enumerate(("user", "rcu", "percpu", "plain"))
        ]
        w.add_struct("tagged", 32, members)
        return Btf(w.build())


@pytest.mark.needs("btf")
@pytest.mark.rows("1.12.8")
@pytest.mark.parametrize(
    "definition", ["", "struct tagged { char __user *user; char __rcu *rcu, __percpu *percpu, *plain; }\n"]
)
def test_a_pointer_with_the_tag_user_is_read_from_user_memory(definition: str) -> None:
    program = definition + "begin { $t = (struct tagged *)5; print(*$t->%s); }"
    reads = {}
    for name in ("user", "rcu", "percpu", "plain"):
        module = passes.run(compile_program(Source("stdin", program % name), TaggedTarget()).module)
        reads[name] = format_module(module).count("helper probe_read_user(")
    assert reads == {"user": 1, "rcu": 0, "percpu": 0, "plain": 0}


@pytest.mark.rows("1.12.8")
def test_text_of_user_space_through_a_tagged_pointer(tmp_path: Path) -> None:
    text = ctypes.create_string_buffer(b"of user space")
    record = ctypes.c_uint64(ctypes.addressof(text))
    use = f"$s = (struct s *){ctypes.addressof(record)}; print(str($s->text)); exit();"
    program = f"struct s {{ char __user *text; }}; begin {{ {use} }}"
    done = run_command_line(["-q", "-e", program], tmp_path, {})
    assert (done.stdout.strip(), done.stderr) == ("of user space", "")
