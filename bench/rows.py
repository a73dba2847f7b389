"""What is measured: a row for each promise about speed, memory and losses, with the programs that show it."""

from __future__ import annotations

from dataclasses import dataclass

GETUID = "tracepoint:syscalls:sys_enter_getuid"
OPEN = "tracepoint:syscalls:sys_enter_openat"

# Cost of an event: the program, and the system call that fires it.
COSTS = {
    "empty": (f"{GETUID} {{ }}", "getuid"),
    "count": (f"{GETUID} {{ @ = count(); }}", "getuid"),
    "count-comm": (f"{GETUID} {{ @[comm] = count(); }}", "getuid"),
    "hist": (f"{GETUID} {{ @[pid] = hist(nsecs % 1000); }}", "getuid"),
    "printf": (f'{GETUID} {{ printf("%d %d %s\\n", pid, tid, comm) }}', "getuid"),
    "kstack": (f"{GETUID} {{ @[kstack] = count(); }}", "getuid"),
    "str": (f"{OPEN} {{ @[str(args.filename)] = count(); }}", "openat"),
}

# A flood: the program, options, and a pattern of the line that each event prints.
FLOODS = {
    "printf": (f'{GETUID} {{ printf("%d %d %s\\n", pid, tid, comm) }}', (), rb"^\d+ \d+ \S"),
    "200-byte string": (
        f'{GETUID} {{ printf("%d %s\\n", pid, "{"x" * 200}") }}',
        (),
        rb"^\d+ x{200}$",
    ),
    "-f json": (
        f'{GETUID} {{ printf("%d %d %s\\n", pid, tid, comm) }}',
        ("-f", "json"),
        rb'^\{"type": "printf"',
    ),
    "kstack": (f'{GETUID} {{ printf("event %d%s\\n", pid, kstack) }}', (), rb"^event \d"),
}

RATES_GOAL = 0.50  # twice as many per second


@dataclass(frozen=True)
class Wall:
    """A command that ends by itself: the time that it takes."""

    name: str
    arguments: tuple[str, ...]
    goal: float
    cold: bool = False


_MANY = "config = { max_map_keys = 200000 } BEGIN "
HOST_WALLS = (
    Wall("start to exit, cold", ("-e", "BEGIN { exit(); }"), 0.50, cold=True),
    Wall("start to exit, warm", ("-e", "BEGIN { exit(); }"), 0.25),
    Wall("print a map of 100,000 keys", ("-e", _MANY + "{ for ($i : 0..100000) { @[$i] = $i; } exit(); }"), 0.50),
    Wall(
        "print a map of 100,000 counts", ("-e", _MANY + "{ for ($i : 0..100000) { @[$i] = count(); } exit(); }"), 0.50
    ),
    Wall(
        "print a hist for each of 1,000 keys",
        # With the limit that every program has: for 200,000 elements the kernel alone takes 0.3 s, whoever asks it.
        ("-e", "BEGIN { for ($i : 0..1000) { @[$i] = hist($i); @[$i] = hist($i * 100); } exit(); }"),
        0.50,
    ),
    Wall("-lv 'struct task_struct'", ("-lv", "struct task_struct"), 0.50),
)
GUEST_WALLS = (Wall("-l 'kprobe:*'", ("-l", "kprobe:*"), 0.50),)


@dataclass(frozen=True)
class Attach:
    """A program that is attached and then ended with SIGINT: the time until "Attached", and that until its end."""

    name: str
    program: str
    goal: float
    cold: bool = False
    both: bool = False  # the goal is for attaching and ending together


SCRIPT = r"""
// Latency and callers of file system work, by command: a script as people write it.
BEGIN
{
    printf("Tracing file system calls... Hit Ctrl-C to end.\n");
}

kprobe:vfs_read
{
    $file = (struct file *)arg0;
    @start[tid] = nsecs;
    @name[tid] = str($file->f_path.dentry->d_name.name);
    @mode[$file->f_mode] = count();
}

kretprobe:vfs_read
/@start[tid]/
{
    @ns[comm] = hist(nsecs - @start[tid]);
    @bytes[@name[tid]] = sum(retval > 0 ? retval : 0);
    delete(@start, tid);
    delete(@name, tid);
}

kprobe:vfs_write
{
    $file = (struct file *)arg0;
    $inode = $file->f_inode;
    @writes[comm, $inode->i_ino, $inode->i_sb->s_dev] = count();
    @stacks[kstack(5)] = count();
}

kprobe:do_nanosleep
{
    $task = (struct task_struct *)curtask;
    @sleeps[$task->comm, $task->real_parent->comm] = count();
}

kprobe:vfs_open
{
    $path = (struct path *)arg0;
    printf("%-16s %-6d %s\n", comm, pid, str($path->dentry->d_name.name));
}

kprobe:tcp_connect
{
    $sk = (struct sock *)arg0;
    @connects[ntop($sk->__sk_common.skc_daddr)] = count();
}
"""
ATTACHES = (
    Attach("40 lines with 6 kprobes, exec to attached, warm", SCRIPT, 0.30),
    Attach("40 lines with 6 kprobes, exec to attached, cold", SCRIPT, 0.70, cold=True),
    Attach("kprobe:vfs_*, attach and detach", "kprobe:vfs_* { @ = count(); }", 0.70, both=True),
    Attach("kprobe:tcp_* with probe, attach and detach", "kprobe:tcp_* { @[probe] = count(); }", 0.20, both=True),
    Attach(
        "kprobe:*k* (11,000 functions), attach and detach",
        "config = { max_probes = 100000 } kprobe:*k* { @ = count(); }",
        0.70,
        both=True,
    ),
)

# -- beside BCC

# Prints this when it is attached, as tcplife prints its heading.
BCC_HELLO = r"""
from time import sleep
from bcc import BPF

bpf = BPF(text='int kprobe__do_nanosleep(void *ctx) { bpf_trace_printk("Hello, World!\\n"); return 0; }')
print("attached", flush=True)
try:
    sleep(1000)
except KeyboardInterrupt:
    pass
"""


@dataclass(frozen=True)
class Script:
    """A BCC script: its text, or the packaged tool's name; and what it prints once its probes are attached."""

    name: str
    text: str
    sign: bytes


BCC_SCRIPTS = (
    Script("hello", BCC_HELLO, b"attached"),
    # It prints its heading after BPF(text=...), which attaches the tracepoint, has returned.
    Script("tcplife", "", b"LADDR"),
)
BCC_WALL_GOAL, BCC_MEMORY_GOAL = 0.30, 0.50

# A million events through a callback: (name, arguments of bcc_events.py).
BCC_EVENTS = (
    ("perf buffer, event() and one field", ("perf", "event")),
    ("ring buffer, event() and one field", ("ring", "event")),
    ("perf buffer, a callback that only counts", ("perf", "bare")),
    ("ring buffer, a callback that only counts", ("ring", "bare")),
)
BCC_EVENTS_GOAL = 0.67  # ns per event: 1.5 times as many per second

# -- growth

START_LINES = (10, 100, 1_000)


def long_script(lines: int) -> str:
    """Return a script of so many lines: clauses of ten lines each, and the end at once."""
    calls = ("getuid", "getgid", "getppid", "getpgid")  # the kernel takes 64 programs at one tracepoint
    clause = """\
tracepoint:syscalls:sys_enter_{call}
/pid > {i}/
{{
    @calls{i}[comm] = count();
    @ns{i} = hist(nsecs % 1000);
    if (tid % 2 == 0) {{
        printf("%d %s\\n", tid, comm);
    }}
    @last{i} = nsecs;
}}
"""
    return "BEGIN { exit(); }\n" + "".join(clause.format(i=i, call=calls[i % 4]) for i in range(lines // 10))


DRAIN_SIZES = (16, 64, 256, 1_000)
_DRAIN_RING = 64 << 20


def drain_events(size: int) -> int:
    """Return how many records of a size fit into the ring: the more, the less the rest of a run matters."""
    return min(800_000, _DRAIN_RING // (size + 64))


def flood_of(size: int, events: int) -> str:
    """Return a program that prints a string of so many bytes so often, all from one full ring."""
    return (
        f'config = {{ perf_rb_pages = {_DRAIN_RING >> 12} }} BEGIN {{ @s = "{"x" * size}"; for ($i : 0..{events}) '
        '{ printf("%s\\n", @s); } clear(@s); exit(); }'
    )


MAP_KEYS = (1_000, 10_000, 100_000, 1_000_000)


def map_of(keys: int) -> str:
    """Return a program that fills a map and prints it."""
    return f"config = {{ max_map_keys = 2000000 }} BEGIN {{ for ($i : 0..{keys}) {{ @[$i] = $i; }} exit(); }}"


# About 1, 10, 100, 1,000 and 10,000 functions.
ATTACH_PATTERNS = ("vfs_read", "vfs_r*", "vfs_*", "*init*", "*k*")


def attach_of(pattern: str) -> str:
    """Return a program that counts the calls of all functions that match."""
    return f"config = {{ max_probes = 100000 }} kprobe:{pattern} {{ @ = count(); }}"
