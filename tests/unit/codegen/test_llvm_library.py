"""LLVM called by us makes what LLVM called by llvmlite's own binding makes."""

from __future__ import annotations

import gc
import importlib.machinery
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as binding
import pytest

from trapline.codegen import llvm_library
from trapline.codegen.llvm import DATA_LAYOUT, compile_native_object
from trapline.codegen.llvm_library import parse_module, version
from trapline.errors import InternalError, TargetError

_HEAD = f'target datalayout = "{DATA_LAYOUT}"\ntarget triple = "bpf"\n'
_LOOP = """
define i64 @p0(ptr %context) section ".text.0" {
entry:
    %slot = alloca i64
    store i64 0, ptr %slot
    br label %loop
loop:
    %i = phi i64 [0, %entry], [%next, %loop]
    %sum = load i64, ptr %slot
    %more = add i64 %sum, %i
    store i64 %more, ptr %slot
    %next = add i64 %i, 1
    %address = getelementptr i8, ptr %context, i64 8
    %limit = load volatile i64, ptr %address
    %again = icmp ult i64 %next, %limit
    br i1 %again, label %loop, label %end
end:
    %result = load i64, ptr %slot
    ret i64 %result
}
"""


def _theirs(text: str) -> tuple[str, bytes]:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple("bpf").create_target_machine(cpu="v3", opt=2)
    module = binding.parse_assembly(text)
    options = binding.create_pipeline_tuning_options(speed_level=1)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return str(module), machine.emit_object(module)


def test_it_makes_what_llvmlite_makes() -> None:
    with parse_module(_HEAD + _LOOP, "bpf", cpu="v3") as module:
        assert "alloca" in str(module)
        module.optimise()
        assert "alloca" not in str(module)
        assert (str(module), module.emit_object()) == _theirs(_HEAD + _LOOP)
        assert "goto" in module.emit_assembly()


def test_simplifying_inlines_and_takes_variables_out_of_memory() -> None:
    text = """
define internal i64 @double(i64 %a) alwaysinline {
  %d = shl i64 %a, 1
  ret i64 %d
}
define i64 @f(ptr %p) {
  %x = alloca i64
  store i64 0, ptr %x
  %old = load i64, ptr %x
  %zero = icmp eq i64 %old, 0
  br i1 %zero, label %then, label %never
then:
  %d = call i64 @double(i64 21)
  ret i64 %d
never:
  ret i64 1
}
"""
    with parse_module(_HEAD + text, "bpf", cpu="v3") as module:
        module.simplify()
        left = str(module).split("@f", 1)[1].split("{", 1)[1].split("}", 1)[0]
        assert [line.strip() for line in left.splitlines() if line and not line.endswith(":")] == ["ret i64 42"]
        assert "@double" not in str(module)


def test_version_is_llvmlites() -> None:
    assert version() == ".".join(map(str, binding.llvm_version_info))


def test_malformed_text_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match=r"does not accept the generated code: .*expected"):
        parse_module(_HEAD + "define nonsense", "bpf").__enter__()
    wrong = "define i64 @f() {\n  %a = add i64 %b, 1\n  %b = add i64 %a, 1\n  ret i64 %a\n}"
    with pytest.raises(InternalError, match="does not dominate"):
        parse_module(_HEAD + wrong, "bpf").__enter__()
    with pytest.raises(InternalError, match="no target nosuch"):
        parse_module(_LOOP, "nosuch").__enter__()


_THREADS = """
import sys, threading
from trapline.codegen.llvm_library import parse_module
found = []
def work():
    for _ in range(20):
        with parse_module(sys.argv[1], "bpf") as module:
            module.optimise()
            found.append(module.emit_object())
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""


def test_threads_compile_at_once() -> None:
    command = [sys.executable, "-c", _THREADS, _HEAD + _LOOP]  # a process, to open the library at once, too
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "80 1\n", "")


def test_other_machines() -> None:
    code = compile_native_object("define i64 @f(i64 %a) {\n  ret i64 %a\n}", "aarch64-unknown-linux-gnu")
    assert code[:4] == b"\x7fELF" and code[18] == 183


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_memory_is_given_back() -> None:
    def compile_once() -> None:
        with parse_module(_HEAD + _LOOP, "bpf") as module:
            module.optimise()
            module.emit_object()

    for _ in range(50):
        compile_once()
    gc.collect()
    before = _resident()
    for _ in range(300):
        compile_once()
    assert _resident() - before < 4 << 20


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let llvmlite be in a folder, where it has no library."""
    package = tmp_path / "llvmlite"
    (package / "binding").mkdir(parents=True)
    (package / "__init__.py").touch()
    find = importlib.machinery.PathFinder.find_spec
    monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", lambda name: find(name, [str(tmp_path)]))
    monkeypatch.setattr(llvm_library, "_open", llvm_library._open.__wrapped__)
    return package / "binding" / "libllvmlite.so"


def test_without_llvmlite(another: Path) -> None:
    with pytest.raises(TargetError, match="llvmlite is not installed") as caught:
        version()
    assert caught.value.hint is not None and "pip install" in caught.value.hint


def test_another_release(another: Path) -> None:
    another.write_text("no library")
    with pytest.raises(TargetError, match="llvmlite cannot be used"):
        version()
