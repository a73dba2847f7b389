"""Unmodified BCC scripts on real kprobes: the command, the module, the import; and what they leave behind."""

import atexit
import ctypes as ct
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trapline.bcc import BPF
from trapline.bcc.failures import BccError
from trapline.bcc.runner import main

pytestmark = pytest.mark.needs("kprobes")

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULE = [sys.executable, "-m", "trapline.bcc"]
COMMAND = [sys.executable, "-c", "import sys; from trapline.cli import main; sys.exit(main())", "bcc"]
IN_GUEST = bool(os.environ.get("TRAPLINE_GUEST"))
PATIENCE = 50 * float(os.environ.get("TRAPLINE_TIME_SCALE", "8" if IN_GUEST else "1"))


class Forked:
    """A fork that runs a script as ``trapline bcc`` does; as much of `subprocess.Popen` as `Script` needs."""

    def __init__(self, path):
        # What the compilers need is loaded once, here.
        with BPF(text="int f(void *ctx) { return 0; }") as b:
            b.dump_func("f")
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(path, out_write, err_write)
        os.close(out_write)
        os.close(err_write)
        self.stdout = os.fdopen(out_read, "rb", buffering=0)
        self.stderr = os.fdopen(err_read, "rb", buffering=0)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("script", timeout)
            time.sleep(0.01)
        found = b"", b""
        if not self.stdout.closed:
            found = self.stdout.read(), self.stderr.read()
            self.stdout.close()
            self.stderr.close()
        return found


def _become(path, out, err):
    """End as the interpreter would after running the script."""
    # The parent's watchdog is a thread, which a fork does not have: only its timer must go.
    code = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w", 1), os.fdopen(os.dup(2), "w", 1)
        try:
            code = main([str(path)])
        except SystemExit as error:
            code = error.code or 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
    finally:
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


class Script:
    """A running script, from whose output lines are read with a time limit.

    Args:
        path: the script.
        command: how to run it; without it, it runs in a fork of this process, which has the compilers loaded already
            (that takes most of a guest's time).
    """

    def __init__(self, path, command=None):
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.text = b""
        if command is None:
            self.process = Forked(path)
        else:
            self.process = subprocess.Popen(
                [*command, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
            )

    def wait_for(self, pattern, trigger=None):
        """Read output until it matches, running `trigger` again and again; return the match."""
        end = time.monotonic() + PATIENCE
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        while time.monotonic() < end:
            found = re.search(pattern, self.text, re.MULTILINE)
            if found:
                return found
            if self.process.poll() is not None:
                break
            if trigger:
                trigger()
            if selector.select(0.2):
                self.text += os.read(self.process.stdout.fileno(), 65536)
        errors = self.interrupt()
        raise AssertionError(f"{pattern!r} did not appear in {self.text!r}; stderr: {errors!r}")

    def interrupt(self):
        """Press Ctrl-C and wait for the end; return what is on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            out, errors = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        self.text += out
        return errors

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def nap():
    subprocess.run(["sleep", "0.1"], check=True)


@pytest.mark.limit(120)
@pytest.mark.one_kernel
@pytest.mark.parametrize("command", [COMMAND, MODULE], ids=["command", "module"])
def test_hello(command):
    with Script(EXAMPLES / "hello.py", command) as script:
        script.wait_for(rb"^b' *(sleep|<\.\.\.>)-\d+ .*bpf_trace_printk: executing program: sleep'$", nap)
        errors = script.interrupt()
    assert errors == b""
    assert script.process.returncode == -signal.SIGINT  # as python dies of Ctrl-C


@pytest.mark.one_kernel
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("hello_attach.py", rb"executing program: sleep'$"),
        ("hello_return.py", rb"do_nanosleep returned 0'$"),
        ("hello_fields.py", rb"^\d+\.\d{9} +(sleep|<\.\.\.>) +\d+ +sleeping$"),
        ("task_memory.py", rb"^\d+ b'total_vm=[1-9]\d* tgid=\d+'$"),
        ("sleep_events.py", rb"^\d+ \d+ +sleep$"),
    ],
)
def test_examples(name, pattern):
    with Script(EXAMPLES / name) as script:
        script.wait_for(pattern, nap)
        errors = script.interrupt()
    assert errors == b""
    assert script.process.returncode == (
        0 if "except KeyboardInterrupt" in (EXAMPLES / name).read_text() else -signal.SIGINT
    )


def test_implicit_reads_give_the_right_values():
    with Script(EXAMPLES / "task_memory.py") as script:
        found = script.wait_for(rb"^(\d+) b'total_vm=(\d+) tgid=(\d+)'$", nap)
    assert found[1] == found[3]  # a single-threaded process: the pid of the trace is the tgid that was read
    assert 100 < int(found[2]) < 1 << 30  # pages


def test_counts():
    with Script(EXAMPLES / "count_sleeps.py") as script:
        script.wait_for(rb"Counting sleeps")
        napping = subprocess.Popen(["sleep", "0.1"])
        napping.wait(timeout=PATIENCE)
        assert script.interrupt() == b""
    found = re.search(rb"^pid %d slept (\d+) times, first at \d+ ns$" % napping.pid, script.text, re.MULTILINE)
    assert found is not None, script.text
    assert int(found[1]) >= 1


PROGRAM = """
BPF_HASH(counts, u32, u64);
int count(struct pt_regs *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    counts.increment(pid);
    return 0;
}
"""


def count_of(b):
    return {key.value: leaf.value for key, leaf in b["counts"].items()}.get(os.getpid(), 0)


def test_attach_and_detach():
    with BPF(text=PROGRAM) as b:
        b.attach_kprobe(event="__x64_sys_getuid", fn_name="count")
        assert b.num_open_kprobes() == 1
        os.getuid()
        assert count_of(b) == 1
        b.attach_kprobe(event="__x64_sys_getuid", fn_name="count")  # once more changes nothing
        os.getuid()
        assert count_of(b) == 2
        b.detach_kprobe("__x64_sys_getuid")
        os.getuid()
        assert count_of(b) == 2
        assert b.num_open_kprobes() == 0
        with pytest.raises(BccError, match="is not attached"):
            b.detach_kprobe("__x64_sys_getuid")


def test_syscall_name_and_prefix_are_this_machines():
    text = PROGRAM.replace("int count(", "int kprobe__sys_getuid(")
    with BPF(text=text) as b:
        os.getuid()
        assert count_of(b) == 1
    with BPF(text=PROGRAM) as b:
        b.attach_kretprobe(event=b.get_syscall_fnname("getuid"), fn_name="count")
        os.getuid()
        assert count_of(b) == 1
        assert list(b.kprobe_fds) == [b"r_" + b.get_syscall_fnname("getuid")]


def test_pattern():
    with BPF(text=PROGRAM) as b:
        b.attach_kprobe(event_re=b"__x64_sys_f?chdir", fn_name="count")
        assert b.num_open_kprobes() == 2
        here = os.open(".", os.O_RDONLY)
        os.chdir(".")
        os.fchdir(here)
        os.close(here)
        assert count_of(b) == 2


def test_arguments_of_the_traced_function():
    text = """
    #include <linux/fs.h>
    struct seen_t { u64 count; char name[32]; };
    BPF_HASH(seen, u32, struct seen_t);
    int kprobe__vfs_open(struct pt_regs *ctx, const struct path *path)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        struct seen_t now = {};
        now.count = 1;
        bpf_probe_read_kernel_str(&now.name, sizeof(now.name), path->dentry->d_name.name);
        seen.update(&pid, &now);
        return 0;
    }
    """
    with BPF(text=text) as b:
        with open("/proc/self/stat"):
            pass
        found = b["seen"][ct.c_uint(os.getpid())]
        assert (found.count, found.name) == (1, b"stat")


def test_function_that_does_not_exist(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from bcc import BPF\nb = BPF(text={PROGRAM!r})\nb.attach_kprobe(event='do_nanosleeep', fn_name='count')\n"
    )
    with Script(script) as running:
        errors = running.process.communicate(timeout=PATIENCE)[1].decode()
    assert running.process.returncode == 1
    assert errors.startswith(
        "ERROR: Failed to attach BPF program b'count' to kprobe b'do_nanosleeep', it's not traceable"
    )
    assert "do_nanosleep" in errors.splitlines()[-1].replace("do_nanosleeep", "")
    assert "Traceback" not in errors


@pytest.mark.limit(120)
@pytest.mark.one_kernel
def test_import_from_the_package(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from trapline.bcc import BPF\n"
        "import os\n"
        f"b = BPF(text={PROGRAM.replace('int count(', 'int kprobe__sys_getuid(')!r})\n"
        "os.getuid()\n"
        "print(b['counts'].items()[0][1].value)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert int(done.stdout) >= 1
