"""C in a program: which types win, what macros become, what the result depends on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.bpftrace.target import FixtureTarget

from trapline.btf import Btf
from trapline.btf.write import BtfBuilder
from trapline.errors import ParseError, SemanticError
from trapline.frontends.bpftrace import CompileOptions
from trapline.frontends.bpftrace.compile import CompileResult, compile_program
from trapline.source import Source


class ModularTarget(FixtureTarget):
    """The fixture with a module that has a struct and an enumerator of its own."""

    def btf_modules(self) -> tuple[str, ...]:
        return ("extra",)

    def module_btf(self, module: str) -> Btf | None:
        if module != "extra":
            return None
        w = BtfBuilder(base=self.btf)
        w.add_struct("in_module", 24, [("pid", w.add_int("short", 2, signed=True), 0)])
        return Btf(w.build(), base=self.btf, name="extra")


def compiled(text: str, name: str = "stdin", **options: tuple[str, ...]) -> CompileResult:
    return compile_program(Source(name, text), ModularTarget(), CompileOptions(**options))  # type: ignore[arg-type]


def types_of(text: str) -> str:
    stages: dict[str, str] = {}
    compile_program(Source("stdin", text), ModularTarget(), CompileOptions(), dump=stages.__setitem__)
    return stages["types"]


def test_a_struct_of_the_program_hides_the_kernels_but_leaves_the_others() -> None:
    own = "struct task_struct { char pid; };"
    text = own + " begin { $a = ((struct task_struct *)0)->pid; $b = ((struct file *)0)->f_mode; }"
    assert "$a: int8\n" in types_of(text) and "$b: uint32\n" in types_of(text)


def test_values_of_the_kernels_own_type_keep_its_layout() -> None:
    text = (
        "struct task_struct { char comm; }; begin { $a = curtask->pid; $b = (struct task_struct *)5; $c = $b->comm; }"
    )
    assert "$a: int32\n" in types_of(text) and "$c: int8\n" in types_of(text)


def test_a_module_has_types_too() -> None:
    assert "$a: int16\n" in types_of("begin { $a = ((struct in_module *)0)->pid }")
    assert "$a: int16\n" in types_of("struct mine { struct in_module *p; } begin { $a = ((struct mine *)0)->p->pid }")


def test_a_macro_with_parameters_is_evaluated_by_c_where_its_result_is_a_constant() -> None:
    assert "Integer 42" in types_of("#define F(x) ((x) * 2)\n#define V F(21)\nbegin { print(V) }")
    with pytest.raises(SemanticError, match="Unknown function: 'F'") as caught:
        compiled("#define F(x) x\nbegin { print(F(1)) }")
    assert "HINT: A macro with parameters is written: macro F(…) { … }" in str(caught.value)


def test_constants_of_kernel_headers_come_with_their_headers_only() -> None:
    assert "Integer 10" in types_of("#include <net/no_such_header.h>\nbegin { print(AF_INET6) }")
    with pytest.raises(SemanticError, match="Unknown identifier: 'AF_INET6'"):
        compiled("begin { print(AF_INET6) }")


def test_the_result_names_the_files_that_it_depends_on(tmp_path: Path) -> None:
    (tmp_path / "own.h").write_text("#define OWN 1\n")
    script = str(tmp_path / "script.bt")
    assert str(tmp_path / "own.h") in compiled('#include "own.h"\nbegin { print(OWN) }', script).files
    assert str(tmp_path / "own.h") in compiled("begin { print(OWN) }", includes=(str(tmp_path / "own.h"),)).files
    assert compiled("begin { print(1) }").files == ()
    with pytest.raises(ParseError, match="file not found"):
        compiled("#include <own.h>\nbegin { print(OWN) }", script)
    compiled("#include <own.h>\nbegin { print(OWN) }", script, include_dirs=(str(tmp_path),))
