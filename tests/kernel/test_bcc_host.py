"""BCC scripts on what every kernel has: tracepoints, tables, buffers, the trace pipe, uprobes."""

import ctypes as ct
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trapline.bcc import (
    BPF,
    DEBUG_BPF,
    DEBUG_BPF_REGISTER_STATE,
    DEBUG_BTF,
    DEBUG_LLVM_IR,
    DEBUG_PREPROCESSOR,
    DEBUG_SOURCE,
)
from trapline.bcc.failures import BccError

COUNT = """
BPF_HASH(counts, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    counts.increment(pid);
    return 0;
}
"""


def poll_until(poll, done, seconds=20):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        poll()
    assert done()


def test_hash_table_counts_calls():
    with BPF(text=COUNT) as b:
        for _ in range(5):
            os.getuid()
        assert b.num_open_tracepoints() == 1
        found = {key.value: leaf.value for key, leaf in b["counts"].items()}
        assert found[os.getpid()] == 5
        b["counts"].clear()
        assert os.getpid() not in {key.value for key, _ in b["counts"].items()}
    assert b.num_open_tracepoints() == 0


def test_functions_at_one_place_run_all():
    functions = "".join(f"int f{n}(void *ctx) {{ counts.increment({n}); return 0; }}" for n in range(20))
    with BPF(text=f"BPF_ARRAY(counts, u64, 20);{functions}") as b:
        for n in range(20):
            b.attach_tracepoint("syscalls:sys_enter_getuid", fn_name=f"f{n}")
        os.getuid()
        b.detach_tracepoint("syscalls:sys_enter_getuid")
        counts = [leaf.value for leaf in b["counts"].values()]
        os.getuid()
        assert min(counts) > 0
        assert [leaf.value for leaf in b["counts"].values()] == counts


_PERF_EVENTS = """
import os
from pathlib import Path
from trapline.bcc import Perf, PerfType
from trapline.bcc.utils import get_online_cpus

Perf.perf_event_open(1, ptype=PerfType.SOFTWARE, freq=10)
attr = Perf.perf_event_attr()
attr.type, attr.config, attr.sample_period = PerfType.SOFTWARE, 3, 1000
Perf.perf_custom_event_open(attr, os.getpid())
Perf.perf_event_open(int(Path("/sys/kernel/tracing/events/sched/sched_switch/id").read_text()))
links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
print(sum("perf_event" in str(path.readlink()) for path in links) / len(get_online_cpus()))
try:
    Perf.perf_event_open(1 << 40, ptype=77)
except OSError as error:
    print(error)
"""


def test_perf_events_of_their_own():
    done = subprocess.run([sys.executable, "-c", _PERF_EVENTS], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    opened, refused = done.stdout.splitlines()
    assert opened == "3.0" and "cannot open perf event" in refused


@pytest.mark.parametrize(
    ("format", "argument"),
    [
        *((spelling, "1") for spelling in ("%d%%", "%5u", "%-8lx|", "%+lld", "%08llX", "%i", "%c", "%px", "%p\\t%%")),
        *((spelling, "args") for spelling in ("%pK", "%ps", "%pS", "%pB", "%pks", "%s")),
        *((spelling, "&address") for spelling in ("%pi4", "%pI6")),
        *((spelling, "1") for spelling in ("%f", "%0.2f", "%hd", "%#x", "%o", "%zu", "%pQ", "%pd", "%.3s", "100%")),
        ("\\033[31mred %d", "1"),
    ],
)
def test_the_kernel_prints_what_no_warning_is_about(format, argument, capfd):
    text = f"""
    BPF_ARRAY(results, int, 1);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {{
        u64 address[2] = {{}};
        if (bpf_get_current_pid_tgid() >> 32 != {os.getpid()})
            return 0;
        int zero = 0, result = bpf_trace_printk("{format}", {argument});
        results.update(&zero, &result);
        return 0;
    }}
    """
    with BPF(text=text) as b:
        os.getuid()
        result = b["results"][0].value
    assert result != 0 and (result < 0) == ("WARNING" in capfd.readouterr().err)


def test_lookup_update_delete():
    text = """
    BPF_HASH(seen, u32, u64);
    BPF_ARRAY(last, u64, 1);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        int zero = 0;
        u64 one = 1, *known = seen.lookup(&pid);
        if (known)
            (*known)++;
        else
            seen.update(&pid, &one);
        u64 now = bpf_ktime_get_ns();
        last.update(&zero, &now);
        return 0;
    }
    """
    with BPF(text=text) as b:
        before = BPF.monotonic_time()
        for _ in range(3):
            os.getuid()
        assert b["seen"][ct.c_uint(os.getpid())].value == 3
        assert before <= b["last"][0].value <= BPF.monotonic_time()


def test_trace_fields():
    text = """
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {
        bpf_trace_printk("getuid by %d\\n", bpf_get_current_pid_tgid() >> 32);
        return 0;
    }
    """
    with BPF(text=text) as b:
        b.trace_open(nonblocking=True)
        os.getuid()
        got = []

        def poll():
            fields = b.trace_fields(nonblocking=True)
            # The pipe may still hold what other programs printed for this process.
            if fields[1] == os.getpid() and fields[5].startswith(b"getuid"):
                got.append(fields)

        poll_until(poll, lambda: got)
        task, _, cpu, _, ts, msg = got[0]
        assert msg == b"getuid by %d" % os.getpid()
        # The kernel does not always remember the name of a task.
        assert task in (Path("/proc/self/comm").read_bytes().strip(), b"<...>")
        assert cpu >= 0
        assert abs(ts - time.clock_gettime(time.CLOCK_BOOTTIME)) < 3600


EVENTS = """
struct data_t {
    u32 pid;
    u64 ts;
    char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
{
    struct data_t data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    data.ts = bpf_ktime_get_ns();
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(args, &data, sizeof(data));
    return 0;
}
"""


def test_perf_buffer():
    with BPF(text=EVENTS) as b:
        got = []

        def callback(cpu, data, size):
            event = b["events"].event(data)
            if event.pid == os.getpid():
                got.append((event.comm, event.ts))

        b["events"].open_perf_buffer(callback)
        for _ in range(10):
            os.getuid()
        poll_until(lambda: b.perf_buffer_poll(100), lambda: len(got) >= 10)
        assert len(got) == 10
        assert {comm for comm, _ in got} == {Path("/proc/self/comm").read_bytes().strip()}
        assert sorted(ts for _, ts in got) == [ts for _, ts in got]


def test_perf_buffer_reports_losses():
    with BPF(text=EVENTS) as b:
        lost = []
        b["events"].open_perf_buffer(lambda *_: None, page_cnt=1, lost_cb=lost.append)
        for _ in range(2000):
            os.getuid()
        b.perf_buffer_poll(1000)
        for _ in range(10):  # a loss is reported with the next sample that fits
            os.getuid()
        b.perf_buffer_consume()
        assert sum(lost) > 1000


def test_ring_buffer():
    text = EVENTS.replace("BPF_PERF_OUTPUT(events)", "BPF_RINGBUF_OUTPUT(events, 8)").replace(
        "events.perf_submit(args, &data, sizeof(data))", "events.ringbuf_output(&data, sizeof(data), 0)"
    )
    with BPF(text=text) as b:
        got = []

        def callback(ctx, data, size):
            event = b["events"].event(data)
            if event.pid == os.getpid():
                got.append((ctx, event.comm))

        b["events"].open_ring_buffer(callback, ctx="mine")
        for _ in range(10):
            os.getuid()
        poll_until(lambda: b.ring_buffer_poll(100), lambda: len(got) >= 10)
        assert [ctx for ctx, _ in got] == ["mine"] * 10


def test_histogram_text(capsys):
    text = """
    BPF_HISTOGRAM(dist);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {
        dist.increment(bpf_log2l(100));
        return 0;
    }
    """
    with BPF(text=text) as b:
        os.getuid()
        b["dist"].print_log2_hist("value", strip_leading_zero=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "     value               : count     distribution"
    assert lines[1].startswith("        64 -> 127        : ")


def test_attach_tracepoint_by_name_and_detach():
    text = """
    BPF_ARRAY(calls, u64, 1);
    int on_call(void *ctx) { calls.increment(0); return 0; }
    """
    with BPF(text=text) as b:
        b.attach_tracepoint(tp="syscalls:sys_enter_getuid", fn_name="on_call")
        os.getuid()
        counted = b["calls"][0].value
        assert counted >= 1
        b.detach_tracepoint("syscalls:sys_enter_getuid")
        with pytest.raises(BccError, match="not attached"):
            b.detach_tracepoint("syscalls:sys_enter_getuid")


def test_uprobe_and_uretprobe():
    text = """
    #include <uapi/linux/ptrace.h>
    BPF_HASH(lengths, u64, u64);
    BPF_HASH(results, u64, u64);
    int on_entry(struct pt_regs *ctx, const char *text)
    {
        char first[4] = {};
        bpf_probe_read_user(&first, sizeof(first), text);
        u64 key = first[0];
        lengths.increment(key);
        return 0;
    }
    int on_return(struct pt_regs *ctx)
    {
        u64 value = PT_REGS_RC(ctx);
        results.increment(value);
        return 0;
    }
    """
    libc = ct.CDLL(None)
    with BPF(text=text) as b:
        b.attach_uprobe(name="c", sym="getenv", fn_name="on_entry", pid=os.getpid())
        b.attach_uretprobe(name="c", sym="getenv", fn_name="on_return", pid=os.getpid())
        assert b.num_open_uprobes() == 2
        libc.getenv(b"Qnothing_like_it")
        assert b["lengths"][ct.c_ulonglong(ord("Q"))].value == 1
        assert b["results"][ct.c_ulonglong(0)].value >= 1
        b.detach_uprobe(name="c", sym="getenv", pid=os.getpid())
        assert b.num_open_uprobes() == 1


def test_perf_event_sampling():
    from trapline.bcc import PerfSWConfig, PerfType

    text = """
    BPF_HASH(samples, u32, u64);
    int on_sample(struct bpf_perf_event_data *ctx)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        samples.increment(pid);
        return 0;
    }
    """
    with BPF(text=text) as b:
        b.attach_perf_event(
            ev_type=PerfType.SOFTWARE, ev_config=PerfSWConfig.CPU_CLOCK, fn_name="on_sample", sample_freq=499
        )
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        assert b["samples"][ct.c_uint(os.getpid())].value > 10
        b.detach_perf_event(PerfType.SOFTWARE, PerfSWConfig.CPU_CLOCK)


def test_perf_event_by_attributes():
    from trapline.bcc import PerfSWConfig, PerfType
    from trapline.bcc.perf_events import Perf

    text = """
    BPF_ARRAY(samples, u64, 2);
    int on_sample(struct bpf_perf_event_data *ctx)
    {
        samples.increment((bpf_get_current_pid_tgid() >> 32) == PID);
        return 0;
    }
    """
    attr = Perf.perf_event_attr()
    attr.type = PerfType.SOFTWARE
    attr.config = PerfSWConfig.CPU_CLOCK
    attr.sample_period = 2_000_000
    attr.exclude_kernel = 1
    with pytest.raises(AttributeError, match="no member sample_periode"):
        attr.sample_periode = 1
    with BPF(text=text, cflags=[f"-DPID={os.getpid()}"]) as b:
        b.attach_perf_event_raw(attr, "on_sample", os.getpid())
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        assert b["samples"][0].value == 0
        assert b["samples"][1].value > 10
        b.detach_perf_event(PerfType.SOFTWARE, PerfSWConfig.CPU_CLOCK)


def test_iterators():
    text = """
    struct entry { u32 pid, tgid; char comm[16]; };
    BPF_ITER(task)
    {
        struct seq_file *seq = ctx->meta->seq;
        struct task_struct *task = ctx->task;
        struct entry entry = {};
        if (!task)
            return 0;
        entry.pid = task->pid;
        entry.tgid = task->tgid;
        bpf_probe_read_kernel_str(&entry.comm, sizeof(entry.comm), task->comm);
        bpf_seq_write(seq, &entry, sizeof(entry));
        return 0;
    }
    """
    with BPF(text=text) as b:
        data = b.run_iter("bpf_iter__task")
        found = {int.from_bytes(data[i + 4 : i + 8], "little"): data[i + 8 : i + 24] for i in range(0, len(data), 24)}
        assert found[os.getpid()].rstrip(b"\0") == Path("/proc/self/comm").read_bytes().strip()


def test_per_cpu_table():
    text = """
    BPF_PERCPU_ARRAY(calls, u64, 1);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid) { calls.increment(0); return 0; }
    """
    with BPF(text=text) as b:
        for _ in range(4):
            os.getuid()
        assert b["calls"].sum(0).value >= 4
        assert len(b["calls"][0]) == len(b["calls"].getvalue(0))


def test_static_questions():
    assert BPF.kernel_struct_has_field(b"task_struct", b"tgid") == 1
    assert BPF.kernel_struct_has_field("task_struct", "nothing_like_it") == 0
    assert BPF.kernel_struct_has_field("nothing_like_it", "x") == -1
    assert BPF.tracepoint_exists("sched", "sched_switch")
    assert not BPF.tracepoint_exists("sched", "nothing_like_it")
    assert BPF.get_tracepoints(b"sched:sched_switch$") == [b"sched:sched_switch"]
    address = BPF.ksymname("schedule")
    assert BPF.ksym(address) == b"schedule"
    assert BPF.ksym(address + 1, show_module=True, show_offset=True) == b"schedule+0x1 [kernel]"
    assert BPF.ksymname("nothing_like_it") == -1
    assert BPF.get_syscall_fnname("bpf") == BPF.get_syscall_prefix() + b"bpf"
    assert BPF.ksymname(BPF.get_syscall_fnname("bpf")) > 0
    assert b"vfs_read" in BPF.get_kprobe_functions(b"vfs_read")


def test_user_symbols():
    libc = ct.CDLL(None)
    address = ct.cast(libc.getenv, ct.c_void_p).value
    assert BPF.sym(address, os.getpid(), show_offset=True).startswith((b"getenv+0x0", b"secure_getenv"))
    assert BPF.sym(1, os.getpid()) == b"[unknown]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int f(struct pt_regs *ctx) { return nothing; }", "Failed to compile BPF module <text>"),
        ("int f(struct pt_regs *ctx) {", "Failed to compile BPF module <text>"),
    ],
)
def test_compile_errors(text, message, capfd):
    with pytest.raises(Exception, match=message):
        BPF(text=text)
    assert "error" in capfd.readouterr().err.lower()


def test_unknown_names():
    with BPF(text="int f(struct pt_regs *ctx) { return 0; }") as b:
        with pytest.raises(KeyError):
            b["nothing"]
        with pytest.raises(Exception, match="Unknown program b'g'"):
            b.load_func("g", BPF.KPROBE)
        assert b.load_func("f", BPF.KPROBE) is b.load_func(b"f", BPF.KPROBE)


def test_empty_text():
    with BPF(text="") as b:
        assert b.num_open_kprobes() == 0


def test_nothing_is_left_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"from bcc import BPF\nb = BPF(text={COUNT!r})\nprint(b['counts'].get_fd())\n")
    done = subprocess.run(
        [sys.executable, "-m", "trapline.bcc", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_published_tables_are_shared():
    publish = 'BPF_TABLE_PUBLIC("hash", u32, u64, shared_counts, 64);'
    use = """
    BPF_TABLE("extern", u32, u64, shared_counts, 64);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid) { u32 k = 1; shared_counts.increment(k); return 0; }
    """
    with BPF(text=publish) as a:
        with BPF(text=use) as b:
            os.getuid()
            assert a["shared_counts"].get_fd() == b["shared_counts"].get_fd()
        assert a["shared_counts"][ct.c_uint(1)].value >= 1  # closing the user leaves the owner's map


def test_queues_programs_and_batches():
    text = """
    BPF_QUEUE(queue, u64, 10);
    BPF_PROG_ARRAY(programs, 4);
    BPF_HASH(hash, int, u64, 1000);
    int tail(void *ctx) { return 0; }
    int head(void *ctx) { programs.call(ctx, 1); return 0; }
    """
    with BPF(text=text) as b:
        queue = b["queue"]
        queue.push(5)
        queue.push(queue.Leaf(6))
        assert queue.peek().value == 5
        assert [leaf.value for leaf in queue.values()] == [5, 6]
        b["programs"][1] = b.load_func("tail", BPF.KPROBE)
        b.load_func("head", BPF.KPROBE)
        del b["programs"][1]
        table = b["hash"]
        table.items_update_batch(range(100), range(100))
        assert sorted(key.value for key, _ in table.items_lookup_batch()) == list(range(100))
        assert len(list(table.items_lookup_and_delete_batch())) == 100
        assert len(table) == 0


def test_stacks():
    from trapline.bcc import PerfSWConfig, PerfType

    text = """
    struct key_t { u32 pid; int kernel; int user; };
    BPF_HASH(counts, struct key_t);
    BPF_STACK_TRACE(stacks, 1024);
    int on_sample(struct bpf_perf_event_data *ctx)
    {
        struct key_t key = {.pid = bpf_get_current_pid_tgid() >> 32};
        key.kernel = stacks.get_stackid(&ctx->regs, 0);
        key.user = stacks.get_stackid(&ctx->regs, BPF_F_USER_STACK);
        counts.increment(key);
        return 0;
    }
    """
    with BPF(text=text) as b:
        b.attach_perf_event(
            ev_type=PerfType.SOFTWARE, ev_config=PerfSWConfig.CPU_CLOCK, fn_name="on_sample", sample_freq=499
        )
        end = time.process_time() + 0.3
        while time.process_time() < end:
            os.getuid()
        b.detach_perf_event(PerfType.SOFTWARE, PerfSWConfig.CPU_CLOCK)
        ours = [key for key, _ in b["counts"].items() if key.pid == os.getpid()]
        frames = {b.ksym(ip) for key in ours if key.kernel >= 0 for ip in b["stacks"].walk(key.kernel)}
        assert any(b"syscall" in name for name in frames)
        assert any(list(b["stacks"].walk(key.user)) for key in ours if key.user >= 0)


def test_verifier_rejection_points_at_the_source(capfd):
    text = """
    BPF_HASH(counts, u32, u64);
    int f(struct pt_regs *ctx)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        u64 *v = counts.lookup(&pid);
        return *v;
    }
    """
    with BPF(text=text) as b, pytest.raises(Exception, match="Failed to load BPF program b'f'"):
        b.load_func("f", BPF.KPROBE)
    lines = capfd.readouterr().err.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("<text>:7:"))
    assert "may be null" in lines[place]
    assert lines[place + 1].strip() == "return *v;"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (DEBUG_LLVM_IR, r"define .*@\w+\(ptr"),
        (DEBUG_BPF, r"call bpf_map_lookup_elem#1(.|\n)*processed \d+ insns"),
        (DEBUG_PREPROCESSOR, r"u64 \*v = h\.lookup\(&k\);(.|\n)*helper map_lookup_elem"),
        (DEBUG_SOURCE, r"; u64 \*v = h\.lookup\(&k\); // Line   5\n(.|\n)*call bpf_map_lookup_elem#1"),
        (DEBUG_BPF_REGISTER_STATE, r"R0\w*=map_value(.|\n)*processed \d+ insns"),
        (DEBUG_BTF, r"^$"),
    ],
)
def test_debug_flags_print_what_they_are_for(flag, expected, capfd):
    text = """
    BPF_HASH(h, u32, u64);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {
        u32 k = 1;
        u64 *v = h.lookup(&k);
        if (v) (*v)++;
        return 0;
    }
    """.replace("\n    BPF_HASH", "BPF_HASH")
    with BPF(text=text, debug=flag):
        said = capfd.readouterr()
    assert said.out == ""
    assert re.search(expected, said.err), said.err
