"""Uprobes on running programs: files by many names, threads, archives, stripped files, symbols of what is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.harness.limits import scaled
from tests.harness.processes import running

import trapline
from trapline.errors import SemanticError, UnsupportedError
from trapline.kernel.user_files import UserFiles
from trapline.syscall.binaries import find_binaries

PROGRAMS = Path(__file__).resolve().parents[1] / "programs" / "user"
TRACED = PROGRAMS / "traced"
pytestmark = pytest.mark.limit(60)


def texts(program: str, count: int = 1, **options: object) -> list[str]:
    """Return the first events of a program that waits for a process."""
    found: list[str] = []
    with trapline.Session(program, cache=False, **options) as session:  # type: ignore[arg-type]
        for event in session.events(timeout=scaled(10)):
            found.append(event.text)
            if len(found) == count:
                break
    return found


def run(program: str, command: str, **options: object) -> list[str]:
    """Return all events of a program that traces a command."""
    with trapline.Session(program, cache=False, command=command, **options) as session:  # type: ignore[arg-type]
        return [event.text for event in session.events()]


@pytest.mark.rows("1.2.22")
def test_wildcards_share_one_program() -> None:
    program = f'uprobe:{TRACED}:*a* {{ printf("%s %s", probe, func) }}'
    with trapline.Session(program, cache=False, command=f"{TRACED} 3") as session:
        attached = session.attach()
        seen = {event.text.partition(" ")[0] for event in session.events()}
        assert len(session.engine.spec.programs) == 1
    names = ("add", "walk", "by_value", "leaf", "caller", "main")
    assert {f"uprobe:{TRACED}:{name}" for name in names} <= seen
    assert attached >= len(names)


@pytest.mark.rows("1.2.22")
def test_names_of_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (libc,) = find_binaries("libc")
    assert os.path.basename(libc) == "libc.so.6"
    assert find_binaries("libc.so") == find_binaries("libc.so.6") == [libc]
    assert find_binaries("libnosuch") == []
    shutil.copy(TRACED, tmp_path / "traced")
    os.link(tmp_path / "traced", tmp_path / "traced-again")
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert find_binaries("traced") == [str(tmp_path / "traced")]
    assert find_binaries(f"{tmp_path}/tr*") == [str(tmp_path / "traced")]  # one file, though it has two names
    assert run('uprobe:traced:add { printf("%s", probe) }', f"{tmp_path}/traced") == [f"uprobe:{tmp_path}/traced:add"]
    assert run('uprobe:libc:usleep { printf("%d", arg0) }', f"{TRACED} 2")[0] == "20000"


@pytest.mark.rows("1.2.27", "1.9.6")
def test_a_process() -> None:
    with running(TRACED, "100000") as one, running(TRACED, "100000") as other:
        program = 'uprobe:*:walk { printf("%s %d", probe, pid) }'
        assert texts(program, 2, pid=one) == [f"uprobe:/proc/{one}/root{TRACED}:walk {one}"] * 2
        found = texts('uprobe:*:walk { printf("%s %d", probe, pid) }', 20)
        assert {text.rpartition(" ")[2] for text in found} >= {str(one), str(other)}
        assert texts(f'uprobe:{TRACED}:walk {{ printf("%d", pid) }}', 3, pid=other) == [str(other)] * 3


@pytest.mark.rows("1.9.6")
@pytest.mark.parametrize("without", [frozenset[str](), frozenset({"uprobe_multi"})])
def test_all_threads_of_a_process(without: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    from trapline.kernel.target import LiveTarget

    monkeypatch.setattr(LiveTarget, "without", without)
    (libc,) = find_binaries("libc")
    library = ctypes.CDLL(libc)
    program = f'uprobe:{libc}:getppid {{ printf("%d", tid) }} uretprobe:{libc}:getppid {{ @[retval] = count() }}'
    go = threading.Event()

    def call() -> None:
        go.wait()
        library.getppid()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    tids = {thread.native_id for thread in threads}
    with trapline.Session(program, cache=False, pid=os.getpid()) as session:
        session.attach()
        go.set()
        for thread in threads:
            thread.join()
        session.finish()
        seen = [int(event.text) for event in session.events(timeout=0)]
        assert tids <= set(seen)
        assert session.maps["@"][os.getppid()] >= 3, (dict(session.maps["@"]), session.missed)


@contextmanager
def preemptible() -> Iterator[None]:
    """Let the kernel preempt itself wherever it can, where that can be chosen."""
    knob = Path("/sys/kernel/debug/sched/preempt")
    if not knob.exists():
        yield
        return
    chosen = knob.read_text().partition("(")[2].partition(")")[0]
    knob.write_text("full")
    try:
        yield
    finally:
        knob.write_text(chosen)


@pytest.mark.needs("preempt_disable")
def test_a_preempted_program_keeps_its_scratch_memory(tmp_path: Path) -> None:
    """Long keys are built in memory that all threads of a CPU share."""
    (libc,) = find_binaries("libc")
    load = tmp_path / "load.py"
    load.write_text(f"""
import ctypes, os
open("/proc/self/comm", "w").write("preempted")
puts = ctypes.CDLL("{libc}").puts
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
children = []
for i in range(6):
    children.append(os.fork())
    if not children[-1]:
        text = ctypes.create_string_buffer(b"%d" % i * 400)
        for _ in range(1500):
            puts(text)
        os._exit(0)
for child in children:
    os.waitpid(child, 0)
""")
    program = f'config = {{ max_strlen = 512 }} uprobe:{libc}:puts /comm == "preempted"/ {{ @[str(arg0)] = count(); }}'
    with preemptible(), trapline.Session(program, cache=False) as session:
        session.attach()
        subprocess.run([sys.executable, load], check=True)
        session.finish()
        assert dict(session.maps["@"]) == {str(i) * 400: 1500 for i in range(6)}


@pytest.mark.rows("1.2.25", "1.8.2")
def test_cplusplus(capsys: pytest.CaptureFixture[str]) -> None:
    cc = PROGRAMS / "traced-cc"
    names = run(f'uprobe:{cc}:cpp:"ns::over" {{ printf("%s", probe) }}', str(cc))
    assert names == [f"uprobe:{cc}:cpp:_ZN2ns4overEi", f"uprobe:{cc}:cpp:_ZN2ns4overEd"]
    assert run(f'uprobe:{cc}:cpp:"ns::over(int)" {{ printf("%d", arg0) }}', str(cc)) == ["1"]
    program = f'uprobe:{cc}:cpp:"*by_reference" {{ printf("%d %d", args.s->size, args.s.kind) }}'
    assert run(program, str(cc)) == ["41 3"]
    assert run(f'uprobe:{cc}:cpp:"ns::twice*" {{ printf("%d", arg0) }}', str(cc)) == ["2"]
    assert UserFiles().demangle("_ZN2ns4overEi") in ("ns::over(int)", "_ZN2ns4overEi")


@pytest.mark.rows("1.2.26")
def test_a_library_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "x.apk"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("pad", "x" * 100)
        opened.write(TRACED, "lib/traced.so")
    inside = UserFiles().open(f"{archive}!/lib/traced.so")
    assert inside is not None
    function = inside.function("add")
    alone = UserFiles().open(str(TRACED))
    assert function is not None and alone is not None
    plain = alone.function("add")
    assert plain is not None
    data = archive.read_bytes()
    assert data[function.offset : function.offset + 16] == TRACED.read_bytes()[plain.offset : plain.offset + 16]
    program = f'uprobe:"{archive}!/lib/traced.so":add {{ print(1) }}'
    with trapline.Session(program, cache=False) as session:
        assert session.attach() == 1
    with pytest.raises(SemanticError, match="not an executable"):
        trapline.Session(f'uprobe:"{archive}!/nosuch":add {{ print(1) }}', cache=False)


@pytest.mark.rows("1.2.28")
def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\x90" * 8192)
    with pytest.raises(SemanticError, match="ELF"):
        trapline.Session(f"uprobe:{path}:0x100 {{ print(1) }}", cache=False)
    with trapline.Session(f"uprobe:{path}:0x100 {{ print(1) }}", cache=False, unsafe=True) as session:
        assert session.attach() == 1


def test_what_is_not_supported_is_named() -> None:
    with pytest.raises(UnsupportedError, match="by source line"):
        trapline.Session(f"uprobe:{TRACED}@traced.c:50 {{ print(1) }}", cache=False)


def test_mistakes() -> None:
    for text, message in (
        (f"uprobe:{TRACED}:nosuch", "No matches for uprobe"),
        (f"uprobe:{TRACED}:walc", "Did you mean 'walk'"),
        ("uprobe:/nosuch:f", "does not exist"),
        (f"uprobe:{TRACED}:add+999", "Offset outside the function bounds"),
        (f"uprobe:{TRACED}:add+2", "into middle of instruction"),
        (f"uprobe:{TRACED}:0x999999", "is not in the code"),
        (f"usdt:{TRACED}:nosuch", "No matches for usdt"),
        ("uprobe:/etc/passwd:f", "not an executable"),
    ):
        with pytest.raises(SemanticError) as caught:
            trapline.Session(f"{text} {{ print(1) }}", cache=False)
        assert message in str(caught.value), text
    with pytest.raises(SemanticError, match="has no argument"):
        trapline.Session(f"uprobe:{TRACED}:add {{ print(args.nosuch) }}", cache=False)
    with pytest.raises(SemanticError, match="passed by value"):
        trapline.Session(f"uprobe:{TRACED}:by_value {{ print(args.p) }}", cache=False)


@pytest.mark.rows("1.3.18")
def test_func_at_the_return_of_a_function() -> None:
    from trapline.kernel.target import LiveTarget

    program = f'uretprobe:{TRACED}:leaf {{ printf("%s", func) }}'
    if LiveTarget().has("uprobe_multi"):
        assert run(program, f"{TRACED} 2") == ["leaf"] * 2
    else:
        with pytest.raises(SemanticError, match=r"needs Linux 6\.6"):
            trapline.Session(program, cache=False)


def test_arguments_behind_what_is_passed_by_value() -> None:
    program = f'uprobe:{TRACED}:by_value {{ printf("%d %d", args.after, args.last) }}'
    assert run(program, f"{TRACED} 2") == ["0 3", "1 3"]


def test_the_cache_notices_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAPLINE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "program"
    offsets = []
    for name in ("traced", "traced-fixed"):
        path.unlink(missing_ok=True)
        shutil.copy(PROGRAMS / name, path)
        with trapline.Session(f"uprobe:{path}:add {{ print(1) }}") as session:
            (program,) = session.engine.spec.programs
            offsets.append(program.attach_points[0].attach.offsets)  # type: ignore[union-attr]
        binary = UserFiles().open(str(path))
        assert binary is not None
        function = binary.function("add")
        assert function is not None
        assert offsets[-1] == (function.offset,)


@pytest.mark.rows("1.9.17")
def test_a_separate_debug_file(tmp_path: Path) -> None:
    if not shutil.which("objcopy"):
        pytest.skip("needs objcopy")
    folder = tmp_path / "debug"
    folder.mkdir()
    stripped = tmp_path / "stripped"
    subprocess.run(["objcopy", "--only-keep-debug", TRACED, folder / "traced.debug"], check=True)
    link = f"--add-gnu-debuglink={folder}/traced.debug"
    subprocess.run(["objcopy", "--strip-all", link, TRACED, stripped], check=True)
    files = UserFiles()
    alone = files.open(str(stripped))
    assert alone is not None and alone.function("leaf") is None
    files.set_debug_dirs(f"+{folder}")
    found = files.open(str(stripped))
    assert found is not None and found.places is not None
    leaf = found.function("leaf")
    assert leaf is not None
    assert found.places.find(leaf.address)[0].path == "/src/traced.c"
    (folder / "traced.debug").write_bytes((folder / "traced.debug").read_bytes() + b"x")
    files.set_debug_dirs(f"+{folder}")  # its checksum is wrong now
    damaged = files.open(str(stripped))
    assert damaged is not None and damaged.function("leaf") is None


@pytest.mark.rows("1.8.1", "1.8.3")
@pytest.mark.parametrize("setting", ["PER_PID", "PER_PROGRAM", "NONE"])
def test_symbols_of_a_deleted_program(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "gone"
    shutil.copy(TRACED, path)
    program = f'uprobe:{path}:leaf {{ printf("%s %s", usym(reg("ip")), ustack(perf, 1)) }}'
    config = {"cache_user_symbols": setting, "lazy_symbolication": True}
    with trapline.Session(program, cache=False, config=config) as session:
        session.attach()
        with running(path, "100000") as pid:
            while not Path(f"/proc/{pid}/maps").read_text().count(str(path)):
                time.sleep(0.01)
            path.unlink()
            event = next(session.events(timeout=scaled(10)))
            assert event.text.startswith("leaf ")
            assert f"leaf+0 ({path})" in event.text


@pytest.mark.rows("1.3.21", "1.7.17")
def test_stacks_of_programs_that_have_ended() -> None:
    program = f"uprobe:{TRACED}:leaf {{ @[ustack(perf, 2), pid] = count(); @f[func] = count() }}"
    with trapline.Session(program, cache=False) as session:
        session.attach()
        subprocess.run([TRACED], check=True, capture_output=True, timeout=scaled(20))
        for _ in session.events(timeout=0.2):
            pass
        ((stack, pid),) = session.maps["@"]
        assert not os.path.exists(f"/proc/{pid}")
        frames = str(stack).strip("\n").split("\n")
        assert [frame.split()[1].partition("+")[0] for frame in frames] == ["leaf", "inlined", "caller"]
        assert [str(name) for name in session.maps["@f"]] == ["leaf"]


def test_symbols_of_code_that_a_compiler_made(tmp_path: Path) -> None:
    """A perf map names what is not in any file; here for the address of an anonymous mapping of this process."""
    import mmap

    from trapline.engine.user_symbols import make_user_symbols

    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        import ctypes

        view = ctypes.c_char.from_buffer(code)
        address = ctypes.addressof(view)
        del view
        path = Path(f"/tmp/perf-{os.getpid()}.map")
        path.write_text(f"{address:x} 40 compiled function\n")
        try:
            found = make_user_symbols(UserFiles, {}).find(address + 4, os.getpid())
        finally:
            path.unlink()
        assert found is not None and (found.name, found.offset) == ("compiled function", 4)


def test_symbols_of_the_vdso() -> None:
    from trapline.engine.user_symbols import make_user_symbols
    from trapline.syscall.process import read_memory_maps

    (vdso,) = [m for m in read_memory_maps(os.getpid()) if m.path == "[vdso]"]
    binary = UserFiles().open("[vdso]")
    assert binary is not None
    function = next(f for f in binary.functions if "gettime" in f.name)
    found = make_user_symbols(UserFiles, {}).find(vdso.start + function.offset, os.getpid())
    assert found is not None and "gettime" in found.name and found.module == "[vdso]"
