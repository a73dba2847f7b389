"""What the command line says when it cannot do what it was asked: one clear line, a hint, no leavings."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.in_process import Done, run_command_line
from tests.harness.limits import scaled

from trapline.kernel.target import LiveTarget
from trapline.syscall.tracefs import read_filter_functions

pytestmark = [pytest.mark.limit(60), pytest.mark.one_kernel]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def target() -> LiveTarget:
    return LiveTarget()


@pytest.fixture
def fails(tmp_path: Path) -> Callable[..., str]:
    """Run the command line, which must fail as errors have to; returns the error line."""

    def run(program: str, *options: str) -> str:
        done = run_command_line([*options, "-e", program], tmp_path)
        return error_line(done)

    return run


def error_line(done: Done) -> str:
    """Return the one error of a failed run after checking its form."""
    assert done.code in (1, 255)  # 255: the kernel refused what trapline asked for
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if "ERROR: " in line]
    assert len(errors) == 1, done.stderr
    assert "HINT: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "Errno" not in done.stderr
    return done.stderr


# ---------------------------------------------------------------- functions that cannot be probed

needs_kprobes = pytest.mark.needs("kprobes")


@needs_kprobes
@pytest.mark.parametrize("provider", ["kprobe", "kretprobe"])
def test_a_function_that_does_not_exist(fails: Callable[..., str], provider: str) -> None:
    text = fails(f"{provider}:do_nanoslep {{ }}")
    first, second = text.splitlines()[:2]
    assert f"{provider}:do_nanoslep" in first and "no function do_nanoslep" in first
    assert second.startswith("HINT: ") and "do_nanosleep" in second


@needs_kprobes
def test_its_arguments_do_not_hide_that_it_does_not_exist(fails: Callable[..., str]) -> None:
    text = fails("kprobe:do_sys_openat22 { print(str(args.filename)) }")
    assert "no function do_sys_openat22" in text and "do_sys_openat2" in text


@needs_kprobes
def test_a_wildcard_that_matches_nothing(fails: Callable[..., str]) -> None:
    assert "kprobe:no_such_function*" in fails("kprobe:no_such_function* { }").replace("kprobe no", "kprobe:no")


@needs_kprobes
def test_one_that_the_compiler_changed(fails: Callable[..., str], target: LiveTarget) -> None:
    names = {name for name, _ in target.symbols.functions()}
    kinds: dict[str, tuple[str, str]] = {}
    for name in sorted(names):
        match = re.fullmatch(r"(?!__pfx_)([a-z_0-9]+)\.(isra|constprop|part)\.\d+", name)
        if match and match[1] not in names:
            kinds.setdefault(match[2], (match[1], name))
    assert set(kinds) >= {"isra", "constprop"}
    for base, variant in kinds.values():
        text = fails(f"kprobe:{base} {{ }}")
        assert f"changed {base}" in text and variant in text


@needs_kprobes
def test_one_that_was_inlined(fails: Callable[..., str], target: LiveTarget) -> None:
    # BTF describes functions that have a body of their own; the sources' inline ones are in nobody's table.
    text = fails("kprobe:get_current { }")
    assert "inlined" in text


@needs_kprobes
def test_one_on_the_blacklist(fails: Callable[..., str], target: LiveTarget) -> None:
    names = sorted({entry.name for entry in target.probes.blacklist or ()})
    name = next(n for n in names if re.fullmatch(r"\w+", n) and len(target.symbols.find(n)) == 1)
    text = fails(f"kprobe:{name} {{ }}")
    assert f"kprobe:{name}" in text and "blacklist" in text


@needs_kprobes
def test_one_marked_notrace(fails: Callable[..., str], target: LiveTarget) -> None:
    traceable = {name for name, _ in read_filter_functions()}
    banned = {entry.name for entry in target.probes.blacklist or ()}
    candidates = ("trace_clock_local", "ktime_get_mono_fast_ns", "trace_clock", "sched_clock")
    name = next(n for n in candidates if len(target.symbols.find(n)) == 1 and n not in traceable and n not in banned)
    assert "notrace" in fails(f"kprobe:{name} {{ }}")


@needs_kprobes
def test_offsets(fails: Callable[..., str]) -> None:
    assert "not at the start of an instruction" in fails("kprobe:do_nanosleep+1 { }")
    assert re.search(r"has only \d+ bytes", fails("kprobe:do_nanosleep+0x10000 { }"))


@needs_kprobes
def test_a_name_of_several_functions(fails: Callable[..., str], target: LiveTarget) -> None:
    counts = Counter(name for name, module in target.symbols.functions() if not module and "." not in name)
    name = next(n for n, count in counts.items() if count > 1 and not n.startswith("__pfx_"))
    text = fails(f"kprobe:{name} {{ }}")
    assert f"{counts[name]} functions are called {name}" in text and "address" in text


@needs_kprobes
def test_modules(fails: Callable[..., str]) -> None:
    text = fails("kprobe:no_such_module:do_nanosleep { }")
    assert "module no_such_module is not loaded" in text and "vmlinux" in text


@needs_kprobes
def test_addresses(fails: Callable[..., str], target: LiveTarget) -> None:
    address = target.symbol_address("do_nanosleep") or 0
    assert "--unsafe" in fails(f"kprobe:{address:#x} {{ }}")
    assert "not at the start of an instruction" in fails(f"kprobe:{address + 1:#x} {{ }}", "--unsafe")
    assert "no known function" in fails("kprobe:0x1000 { }", "--unsafe")


@needs_kprobes
def test_the_good_probes_of_a_program_with_a_bad_one_do_not_stay(fails: Callable[..., str]) -> None:
    # The fixture that looks for leaks sees whether something stays.
    fails("kprobe:do_nanosleep { @ = count() } kprobe:no_such_function { } kretprobe:do_nanosleep { }")


@pytest.mark.needs("no_kprobes")
def test_a_kernel_without_kprobes(fails: Callable[..., str]) -> None:
    text = fails("kprobe:do_nanosleep { }")
    assert "CONFIG_KPROBES" in text or "CONFIG_KPROBE_EVENTS" in text
    assert "tracepoint" in text


# ---------------------------------------------------------------- what the machine lacks

# A child of this process (starting Python costs seconds in a guest) that changes what it may do.


def in_child(prepare: Callable[[], None], arguments: list[str], folder: Path) -> Done:
    """Run the command line in a forked child after `prepare` took something away from it."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(scaled(20)))
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                setattr(sys, name, os.fdopen(number, "w", buffering=1, closefd=False))
            prepare()
            from trapline.cli import main

            code = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            import traceback

            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return Done((folder / "stdout").read_text(), (folder / "stderr").read_text(), os.waitstatus_to_exitcode(status))


def _forget_the_machine() -> None:
    """Let the child look at the machine afresh, as a new process would."""
    import gc

    import trapline.engine.host as host

    for found in gc.get_objects():
        clear = getattr(found, "cache_clear", None) if callable(found) and hasattr(found, "cache_clear") else None
        if clear is not None and str(getattr(found, "__module__", "")).startswith("trapline"):
            clear()
    del host


def drop_capabilities(*keep: int) -> Callable[[], None]:
    """Return what drops all capabilities but some, in the bounding set and of this process."""

    def drop() -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        mask = sum(1 << number for number in keep)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        low, high = mask & 0xFFFFFFFF, mask >> 32
        data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
        assert libc.capset(ctypes.byref(header), ctypes.byref(data)) == 0
        _forget_the_machine()

    return drop


KPROBE = ["-e", 'kprobe:do_nanosleep { printf("x\\n"); exit(); }']
CAP_SYSLOG, CAP_PERFMON, CAP_BPF, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE = 34, 38, 39, 2, 1


@needs_kprobes
@pytest.mark.rows("1.9.30")
def test_no_privilege_at_all(tmp_path: Path) -> None:
    text = error_line(in_child(drop_capabilities(), KPROBE, tmp_path))
    assert "CAP_BPF" in text and "CAP_PERFMON" in text


@needs_kprobes
def test_no_cap_bpf(tmp_path: Path) -> None:
    text = error_line(in_child(drop_capabilities(CAP_PERFMON, CAP_SYSLOG, CAP_DAC_OVERRIDE), KPROBE, tmp_path))
    assert "CAP_BPF" in text.splitlines()[0] and "CAP_PERFMON" not in text.splitlines()[0]


@needs_kprobes
def test_no_cap_perfmon(tmp_path: Path) -> None:
    text = error_line(in_child(drop_capabilities(CAP_BPF, CAP_SYSLOG, CAP_DAC_OVERRIDE), KPROBE, tmp_path))
    assert "CAP_PERFMON" in text.splitlines()[0] and "CAP_BPF" not in text.splitlines()[0]


@needs_kprobes
def test_the_two_capabilities_are_enough_or_what_lacks_is_said(tmp_path: Path) -> None:
    program = ["-e", "kprobe:do_nanosleep { @ = count() } interval:ms:10 { exit() }"]
    done = in_child(drop_capabilities(CAP_BPF, CAP_PERFMON, CAP_SYSLOG, CAP_DAC_OVERRIDE), program, tmp_path)
    assert done.code == 0 or error_line(done)


def _hide(*paths: str) -> Callable[[], None]:
    def hide() -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        newns, rec, private, bind = 0x20000, 0x4000, 1 << 18, 0x1000
        assert libc.unshare(newns) == 0
        assert libc.mount(b"none", b"/", None, rec | private, None) == 0
        for path in paths:
            if os.path.isdir(path):
                assert libc.mount(b"none", path.encode(), b"tmpfs", 0, None) == 0
            elif os.path.exists(path):
                assert libc.mount(b"/dev/null", path.encode(), None, bind, None) == 0
        _forget_the_machine()

    return hide


TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug")


@pytest.mark.needs("tracefs")
def test_no_tracefs(tmp_path: Path) -> None:
    for arguments in (
        ["-e", "tracepoint:syscalls:sys_enter_getuid { } interval:ms:10 { exit() }"],
        ["-l", "tracepoint:*"],
    ):
        text = error_line(in_child(_hide(*TRACEFS), arguments, tmp_path))
        assert "tracefs" in text and "mount" in text


@needs_kprobes
def test_a_kprobe_needs_no_tracefs(tmp_path: Path) -> None:
    arguments = ["-q", "-e", 'kprobe:do_nanosleep { printf("x\\n"); exit(); }', "-c", "sleep 0.01"]
    done = in_child(_hide(*TRACEFS), arguments, tmp_path)
    assert (done.code, done.stdout.strip()) == (0, "x"), done.stderr


@needs_kprobes
@pytest.mark.needs("btf")
def test_no_btf(tmp_path: Path) -> None:
    hide = _hide("/sys/kernel/btf")
    text = error_line(in_child(hide, ["-e", "kprobe:do_nanosleep { print(args.mode) }"], tmp_path))
    assert "BTF" in text or "type information" in text
    arguments = ["-q", "-e", 'kprobe:do_nanosleep { printf("%d\\n", arg1); exit(); }', "-c", "sleep 0.01"]
    done = in_child(hide, arguments, tmp_path)
    assert (done.code, done.stdout.strip()) == (0, "1"), done.stderr


# ---------------------------------------------------------------- wrong programs


def test_a_syntax_error(tmp_path: Path) -> None:
    done = run_command_line(["-e", "begin { $x = 1 +; }"], tmp_path)
    assert (done.code, done.stdout) == (1, "")
    first, source, underline, *_ = done.stderr.splitlines()
    assert re.match(r"stdin:1:\d+(-\d+)?: ERROR: syntax", first)
    assert source == "begin { $x = 1 +; }"
    assert re.fullmatch(r" +~+", underline)


def test_a_type_error(tmp_path: Path) -> None:
    done = run_command_line(["-e", 'begin {\n  @x = 1;\n  @x = "text";\n}'], tmp_path)
    assert (done.code, done.stdout) == (1, "")
    first, source, underline, *_ = done.stderr.splitlines()
    assert re.match(r"stdin:3:\d+-\d+: ERROR: Type mismatch for @x", first), done.stderr
    assert source == '  @x = "text";'
    assert re.fullmatch(r" +~+", underline)


def test_the_verifier_is_quoted_with_the_source(tmp_path: Path) -> None:
    text = "begin {\n  $x = 1;\n  while (1) {\n    $x = 2;\n  }\n}"
    done = run_command_line(["-e", text], tmp_path)
    assert (done.code, done.stdout) == (1, ""), done
    first, source, underline, *rest = done.stderr.splitlines()
    assert re.match(r"stdin:[34]:\d+(-\d+)?: ERROR: the kernel rejected begin: .*loop", first), done.stderr
    assert source in ("  while (1) {", "    $x = 2;")
    assert re.fullmatch(r" *~+", underline)
    assert any(line.startswith("HINT: -v shows the verifier's log") for line in rest)
    verbose = run_command_line(["-v", "-e", text], tmp_path)
    assert "R1" in verbose.stderr and "processed" in verbose.stderr


def test_the_command_line_itself(tmp_path: Path) -> None:
    for arguments in (
        ["-e"], ["--no-such-option"], ["-p", "x", "-e", "begin { }"], ["-f", "xml", "-e", "begin { }"],
        ["/no/such/file"], [], ["-c", "/no/such/program", "-e", "begin { }"],
    ):  # fmt: skip
        done = run_command_line(arguments, tmp_path)
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr.startswith("ERROR: ") and len(done.stderr.split("\n\nUSAGE:")[0].splitlines()) <= 2


def test_a_process_that_does_not_exist(tmp_path: Path) -> None:
    done = run_command_line(["-p", "4194303", "-e", "interval:s:1 { }"], tmp_path)
    assert done.code == 1 and "4194303" in done.stderr and "Traceback" not in done.stderr


def test_errors_go_to_stderr_of_a_real_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trapline", "-e", "begin { $x = ; }"],
        cwd=ROOT, capture_output=True, timeout=scaled(20), check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == b"" and b"ERROR" in done.stderr
