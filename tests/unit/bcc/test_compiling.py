from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.frontends.bcc_c.fixture import FixtureTarget

from trapline.bcc.compiling import CompiledText, compile_text, depends_on_files
from trapline.bcc.descriptions import decode_descriptions, encode_descriptions
from trapline.bcc.failures import CompileError
from trapline.errors import ParseError
from trapline.frontends.bcc_c import compile as front_end
from trapline.source import Source

_TEXT = """
#include <linux/sched.h>
struct key_t { u32 pid; union { u64 whole; u16 parts[4]; }; char comm[16]; u64 when : 40; };
struct event_t { enum { LOW, HIGH } level; void *place; };
BPF_HASH(start, struct key_t, u64, 77);
BPF_PERF_OUTPUT(events);
int kprobe__do_nanosleep(struct pt_regs *ctx) {
    struct event_t event = { .level = HIGH };
    events.perf_submit(ctx, &event, sizeof(event));
    return 0;
}
int other(void *ctx) { return 0; }
"""


class Target(FixtureTarget):
    """A fixture that programs may be kept for."""

    volatile_answers = 0

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def keep(self) -> None:
        self.done.append("kept")

    def release_types(self) -> None:
        self.done.append("released")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAPLINE_CACHE", str(tmp_path / "cache"))


def compile_for(target: Target, text: str = _TEXT, *cflags: str) -> CompiledText:
    machine: Any = SimpleNamespace(target=target)
    return compile_text(Source("test.c", text), machine, cflags)


def refuse(*_: object) -> None:
    raise ParseError([])


def test_a_text_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target()
    first = compile_for(target)
    monkeypatch.setattr(front_end, "compile_c", refuse)
    assert compile_for(target) == first
    assert first.tables["start"].max_entries == 77
    assert list(first.programs) == ["kprobe__do_nanosleep", "other"]
    with pytest.raises(Exception, match="Failed to compile"):
        compile_for(target, _TEXT, "-DOTHER=1")
    with pytest.raises(Exception, match="Failed to compile"):
        compile_for(target, _TEXT + "\n")


def test_the_index_of_types_is_kept_for_the_next_script_and_memory_let_go() -> None:
    target = Target()
    compile_for(target)
    assert target.done == ["kept", "released"]


def test_a_warning_is_shown_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    text = "int f(void *ctx) {\n#ifdef CONFIG_NOBODY_KNOWS\n return 1;\n#endif\n return 0; }"

    class Unknown(Target):
        def kernel_config(self, option: str) -> str | None:
            return None

    shown = []
    for _ in range(2):
        compile_for(Unknown(), text)
        shown.append(capsys.readouterr().err)
    assert "CONFIG_NOBODY_KNOWS" in shown[0]
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("text", "cflags", "depends"),
    [
        ("#include <linux/sched.h>\n#include <uapi/linux/ptrace.h>\n", (), False),
        ("#include <linux/sched.h>\n#include <linux/sched.h>\n", ("-DX=1",), False),
        ('#include "mine.h"\n', (), True),
        ("#define H <linux/sched.h>\n#include H\n", (), True),
        ("#if __has_include(<mine.h>)\n#endif\n", (), True),
        ("# \\\n include <mine.h>\n", (), True),
        ("", ("-include", "mine.h"), True),
        ("", ("-I.",), True),
    ],
)
def test_a_text_with_files_of_its_own_is_not_kept(text: str, cflags: tuple[str, ...], depends: bool) -> None:
    assert depends_on_files(text, cflags) is depends


def test_descriptions_come_back_as_they_were() -> None:
    compiled = compile_for(Target())
    assert decode_descriptions(encode_descriptions(compiled.tables, compiled.programs)) == compiled[1:]


def test_headers_of_a_script_may_use_the_kernels_types(tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "deeper.h").write_text("#define LIMIT 7\nextern int somewhere;\n")
    (folder / "own.h").write_text(
        '#pragma once\n#include <linux/sched.h>\n#include "parts/deeper.h"\n'
        "BPF_HASH(seen, u32, u64);\n"
        "static int pid_of(struct task_struct *task) { return task->pid < LIMIT ? LIMIT : task->pid; }\n"
        "int not_a_program(void *ctx) { return 0; }\n"
    )
    path = folder / "tool.c"
    path.write_text(
        '#include "own.h"\nint f(struct pt_regs *ctx, struct task_struct *task) {'
        " u32 pid = pid_of(task); seen.increment(pid); return 0; }"
    )
    machine: Any = SimpleNamespace(target=Target())
    compiled = compile_text(Source(str(path), path.read_text()), machine)
    assert list(compiled.tables) == ["seen"] and list(compiled.programs) == ["f"]
    elsewhere = tmp_path / "elsewhere.c"
    elsewhere.write_text(path.read_text())
    with pytest.raises(CompileError):
        compile_text(Source(str(elsewhere), elsewhere.read_text()), machine)
    for flags in ([f"-I{folder}"], ["-I", str(folder)]):
        assert compile_text(Source(str(elsewhere), elsewhere.read_text()), machine, flags).programs.keys() == {"f"}
