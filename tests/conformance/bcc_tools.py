"""BCC's own tools: arguments and a workload for each, and what the tool must print of it.

The tools come from two packages, Debian 12's bpfcc-tools 0.26 and Debian sid's 0.37, and run as packaged.
``python -m tests.conformance.bcc_sweep`` runs all of them on the running kernel and says how each ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.in_process import Done

PEERS = Path(os.environ.get("TRAPLINE_PEERS", "/var/lib/trapline-peers"))
PACKAGES = {version: PEERS / f"bcc-tools-{version}" for version in ("0.26", "0.37")}
_CLOCK = r"\d\d:\d\d:\d\d"
_BUCKET = r"^ +\d+ -> \d+ +: \d+ +\|\*"
_WORK = "bccwork"
_GAP = r"(?: |\x1b\[\d+(?:;\d+)?[HG])+"  # between the columns of a terminal
# Fields of struct renamedata: of kernels before mnt_idmap, and of those before both became one.
_IDMAPS = ("old_mnt_userns", "new_mnt_idmap")
_INLINED = (
    r"no function (__)?blk_account_io_(start|done)|mark blk_account_io_(start|done) notrace"
    r"|the compiler changed blk_account_io_(start|done);|No found any block io start probe"
)
_KERNEL_LACKS_MPTCP = "Failed to load BPF program b'kmod_ret__update_socket_protocol'"  # which came with Linux 6.6
_NO_PROBES = "Failed to enable USDT probe"


@dataclass(frozen=True)
class BccTool:
    """A tool.

    Args:
        name: without ``-bpfcc``.
        arguments: its arguments; ``{pid}`` is the workload's process.
        workload: a name of bcc_workload.py.
        patterns: each matches somewhere in what it prints, ``^`` and ``$`` at lines.
        ends: it ends by itself; else it is interrupted after the workload.
        why: what is missing where it prints nothing, or does not fit the kernel.
        lacks: what the tool says on a kernel or machine that has not what it needs; a regular expression.
        knows: it chooses its text by these names of the kernel's types; with none of them, it chooses wrong.
        apart: it knows the struct where these two fields are so many bytes apart; else it reads something else.
        broken: what it says where BCC cannot run it either, for its text is wrong for the kernel.
        modules: kernel modules to load before, because the tool probes them.
        codes: exit codes that are right.
        terminal: it wants a terminal.
    """

    name: str
    arguments: tuple[str, ...] = ()
    workload: str = "files"
    patterns: tuple[str, ...] = ()
    ends: bool = False
    why: str = ""
    lacks: str = ""
    knows: tuple[str, ...] = ()
    apart: tuple[str, str, str, int] | None = None
    broken: str = ""
    modules: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0, 130)
    terminal: bool = False

    @property
    def often(self) -> bool:
        """Whether the suite runs it, too."""
        return self.name in _OFTEN


def _tool(name: str, line: str = "", workload: str = "files", *patterns: str, **named: object) -> BccTool:
    return BccTool(name, tuple(line.split()), workload, patterns, **named)  # type: ignore[arg-type]


def _slower(name: str, kind: str = "W") -> str:
    """Return the row of an operation on 4 bytes, as the tools print it that trace slow operations of a file system."""
    return rf"(b'{_WORK}'|{_WORK}) +{{pid}} +{kind} 4 +0 +[\d.]+ (b'{name}'|{name})$"


TOOLS = (
    BccTool(
        "argdist",
        ("-C", "p::vfs_write(void *f, char *buf, size_t count):size_t:count", "-i", "4", "-n", "1"),
        "named",
        (r"1 +count = 5000$",),
        ends=True,
    ),
    _tool("bashreadline", "", "bash", rf"^{_CLOCK} +\d+ +echo typed; exit$"),
    _tool("bindsnoop", "", "tcp", rf"^ *{{pid}} {_WORK} +TCP +127.0.0.1 +54321"),
    _tool("biolatency", "2 1", "block", _BUCKET, ends=True, lacks=_INLINED),
    _tool("biolatpcts", "-i 2 /dev/nullb0", "block", r"^read +[\d.]+[mun]?s", modules=("null_blk",)),
    _tool(
        "biopattern", "2 1", "block", rf"^{_CLOCK} +nullb0 +\d+ +\d+ +[34] +(24|32)$", ends=True, modules=("null_blk",)
    ),
    _tool(
        "biosnoop",
        "",
        "block",
        rf"{_WORK} +{{pid}} +nullb0 +R +0 +8192",
        modules=("null_blk",),
        lacks=_INLINED,
    ),
    _tool(
        "biotop",
        "4 1",
        "block",
        rf"{{pid}} +{_WORK} +R +\d+ +\d+ +nullb0 +4 +32",
        ends=True,
        modules=("null_blk",),
        lacks=_INLINED,
    ),
    _tool("bitesize", "", "block", rf"^Process Name = {_WORK}$", r"^ +8 -> 15 +: 4 "),
    _tool("bpflist", "", "files", r"^PID +COMM +TYPE +COUNT$", ends=True),
    _tool("btrfsdist", "4 1", "btrfs", r"^operation = '?write'?$", _BUCKET, ends=True, modules=("btrfs", "loop")),
    _tool("btrfsslower", "0", "btrfs", _slower("file"), modules=("btrfs", "loop")),
    _tool(
        "cachestat",
        "2 1",
        "listing",
        r"^ +[1-9]\d* +\d+ +\d+ +[\d.]+% +\d+ +\d+$",
        ends=True,
    ),
    _tool("cachetop", "2", "buffers", rf"{{pid}} +root +{_WORK}{_GAP}[1-9]\d*{_GAP}\d+{_GAP}16{_GAP}", terminal=True),
    _tool("capable", "", "ids", rf"{{pid}} +{_WORK} +7 +CAP_SETUID"),
    _tool("cobjnew", "{pid} 2", "allocate", r"^block size 70001 +10 +700010$"),
    _tool(
        "compactsnoop",
        "",
        "huge",
        rf"^{_WORK} +{{pid}} +0 +ZONE_\w+ +9 +A?SYNC +[\d.]+ +\w+$",
    ),
    _tool("cpudist", "2 1", "threads", _BUCKET, ends=True),
    _tool(
        "cpuunclaimed",
        "1 1",
        "busy",
        r"^%CPU +[\d.]+%, unclaimed idle [\d.]+%$",
        ends=True,
        lacks="CPU samples arrived at skewed offsets",
    ),
    _tool("criticalstat", "", "files", lacks="required tracing events are not available"),
    _tool("dbslower", "mysql", "files", lacks="'pidof', 'mysqld'.* returned non-zero"),
    _tool("dbstat", "mysql", "files", lacks="'pidof', 'mysqld'.* returned non-zero"),
    _tool("dcsnoop", "", "named", rf"{{pid}} +{_WORK} +M +first-name"),
    _tool("dcstat", "2 1", "everything", rf"^{_CLOCK}", ends=True),
    _tool("deadlock", "--binary /lib/x86_64-linux-gnu/libc.so.6 {pid}", "threads", r"^Tracing... Hit Ctrl-C to end.$"),
    _tool(
        "dirtop",
        "-d /tmp/trapline-bcc -C 2 1",
        "listing",
        r"^[1-9]\d* +[1-9]\d* +\d+ +\d+ +/tmp/trapline-bcc$",
        ends=True,
    ),
    _tool("drsnoop", "", "huge", rf"^{_WORK} +{{pid}} +[\d.]+ +\d+$"),
    _tool("execsnoop", "", "commands", r"^true +\d+ +{pid} +0 +/bin/true first second$"),
    _tool("exitsnoop", "", "exits", rf"^{_WORK} +\d+ +{{pid}} +\d+ +[\d.]+ +code 7$"),
    _tool("ext4dist", "3 1", "ext4", r"^operation = write$", _BUCKET, ends=True, modules=("ext4", "loop")),
    _tool("ext4slower", "0", "ext4", rf"{_WORK} +{{pid}} +W 4096 +0 +[\d.]+ ext4-file", modules=("ext4", "loop")),
    _tool("f2fsslower", "0", "f2fs", _slower("file"), _slower("file", "R"), modules=("f2fs", "loop")),
    _tool("filegone", "", "named", rf"{{pid}} +{_WORK} +DELETE +second-name", knows=_IDMAPS),
    _tool("filelife", "", "named", rf"{{pid}} +{_WORK} +[\d.]+ +second-name", knows=_IDMAPS),
    _tool("fileslower", "-p {pid} 0", "named", rf"{_WORK} +{{pid}} +W 5000 +[\d.]+ first-name"),
    _tool("filetop", "-C 4 1", "listing", rf"{{pid}} +{_WORK} +\d+ +\d+ +\d+ +\d+ +R +often-read", ends=True),
    _tool("funccount", "vfs_unlink -d 4", "named", r"^vfs_unlink +1$", ends=True),
    _tool("funcinterval", "-d 2 vfs_read", "everything", _BUCKET, ends=True),
    _tool("funclatency", "-d 2 vfs_read", "everything", _BUCKET, r"^avg = \d+ nsecs", ends=True),
    _tool("funcslower", "-u 1 vfs_unlink", "named", rf"{_WORK} +{{pid}} +[\d.]+ +\S+ vfs_unlink"),
    _tool("gethostlatency", "", "lookup", rf"{{pid}} +{_WORK} +[\d.]+ localhost$"),
    _tool("hardirqs", "2 1", "everything", r"^virtio\d+-\w+ +\d+$", ends=True),
    _tool("inject", "kmalloc vfs_unlink()", "named", lacks="ERROR.*helper bpf_override_return"),
    _tool("killsnoop", "", "kill", rf"^{_CLOCK} +{{pid}} +{_WORK} +28 +{{pid}} +0$"),
    _tool("klockstat", "-d 2", "everything", r"mutex_lock|Caller", ends=True),
    _tool("kvmexit", "1", "files", lacks="insmod kvm module|only support Intel"),
    _tool("llcstat", "1", "busy", ends=True, lacks="Failed to attach to a hardware event"),
    _tool("mdflush", "", "md", r"md127$", modules=("raid1",)),
    _tool("memleak", "-p {pid} 2 1", "allocate", r"700010 bytes in 10 allocations from stack", ends=True),
    _tool(
        "mountsnoop",
        "",
        "mount",
        rf'{_WORK} +{{pid}} +{{pid}} +\d+ +mount\("bccdev", "/tmp/trapline-bcc", "tmpfs", (0x0|0|""), "size=1m"\) = 0$',
    ),
    _tool("mptcpify", f"-t {_WORK}", "protocol", rf"^{_WORK}: protocol 262$", lacks=_KERNEL_LACKS_MPTCP),
    _tool("mysqld_qslower", "{pid}", "files", lacks="Failed to enable USDT probe 'query__start'"),
    _tool("netqtop", "-n lo -i 1", "tcp_and_wait", r"^ Total +[1-9]"),
    _tool("nfsdist", "20 1", "nfs", r"^operation = '?write'?$", _BUCKET, ends=True, modules=("nfs", "nfsv4")),
    _tool("nfsslower", "0", "nfs", _slower("nfs-file"), modules=("nfs", "nfsv4")),
    _tool(
        "numasched",
        "",
        "nodes",
        rf"^{_CLOCK} {{pid}} +{{pid}} +0 +-> 1 +b'{_WORK}'",
        rf"^{_CLOCK} {{pid}} +{{pid}} +1 +-> 0 +b'{_WORK}'",
        lacks="The machine has one NUMA node",
    ),
    _tool("offcputime", "-p {pid} 2", "everything", rf"{_WORK} \({{pid}}\)$", ends=True),
    # It takes the process from the task that gets the processor, and the name from the one that loses it.
    _tool("offwaketime", "2", "everything", r"target: +\S.* {pid}$", ends=True),
    _tool("oomkill", "", "out_of_memory", r'Triggered by PID \d+ \("bccwork"\), OOM kill of PID \d+ \("bccwork"\)'),
    _tool(
        "opensnoop",
        "",
        "named",
        rf"^{{pid}} +{_WORK} +-1 +2 /no-such-file-for-bcc$",
        rf"^{{pid}} +{_WORK} +\d+ +0 /tmp/trapline-bcc/first-name$",
    ),
    _tool("pidpersec", "", "everything", r"PIDs/sec: [1-9]"),
    _tool("profile", "-p {pid} 2", "busy", rf"{_WORK} \({{pid}}\)$", ends=True),
    _tool(
        "rdmaucma",
        "",
        "resolve_rdma",
        r" address resolved +IPv4 +127\.0\.0\.1:\d+ +127\.0\.0\.1:7471 *$",
        modules=("rdma_ucm",),
    ),
    _tool(
        "readahead",
        "-d 2",
        "read_ahead",
        r"^Read-ahead unused pages: \d+$",
        _BUCKET,
        ends=True,
        broken=r"^Read-ahead unused pages: [1-9]\d*$",
        why="its text takes the third argument of filemap_alloc_folio_noprof for what the function returns",
    ),
    _tool("runqlat", "2 1", "everything", _BUCKET, ends=True),
    _tool("runqlen", "2 1", "busy", r"^ +0 +: \d+", ends=True),
    _tool("runqslower", "1", "threads", rf"^{_CLOCK} {_WORK} +{{pid}} +\d+"),
    _tool(
        "shmsnoop", "", "shared_memory", rf"^{{pid}} +{_WORK} +SHMGET +\w+ key: 0x54524150, size: 4096, shmflg: 0x380"
    ),
    _tool(
        "slabratetop",
        "-C 2 1",
        "everything",
        r"^\S+ +[1-9]\d* +[1-9]\d*$",
        ends=True,
        broken="Linux 6.8 and later are not supported",
    ),
    _tool("sofdsnoop", "", "pass_file", rf"^SEND +{{pid}} +{_WORK} .*/etc/passwd"),
    _tool("softirqs", "2 1", "everything", r"^(timer|sched|rcu) +\d+", ends=True),
    _tool("softirqslower", "1", "everything", rf"^{_CLOCK} softirq runtime +\w+ +\d+ +0 +\S+"),
    _tool("solisten", "", "tcp", rf"^{{pid}} +{_WORK} +TCPv4 +100 +54321 127\.0\.0\.1 *$"),
    _tool("sslsniff", "", "tls", rf"WRITE/SEND +[\d.]+ +{_WORK} +{{pid}} +23", "hello from the workload"),
    _tool("stackcount", "-D 4 vfs_unlink", "named", r"^ +vfs_unlink$", r"^ +1$", ends=True),
    _tool(
        "statsnoop",
        "",
        "named",
        rf"^{{pid}} +{_WORK} +-1 +2 /no-such-file-for-bcc",
    ),
    _tool("syncsnoop", "", "writeback", r"sync"),
    _tool("syscount", "-P -d 2", "everything", rf"^{{pid}} +{_WORK} +\d+", ends=True),
    _tool("tcpaccept", "", "tcp", rf"^{{pid}} +{_WORK} +4 +127.0.0.1 +\d+ +127.0.0.1 +54321"),
    _tool(
        "tcpcong",
        "2 1",
        "tcp_and_wait",
        r"^LAddrPort +RAddrPort",
        ends=True,
        why="nothing is lost on the loopback interface",
    ),
    _tool("tcpconnect", "", "tcp", rf"^{{pid}} +{_WORK} +4 +127.0.0.1 +127.0.0.1 +54321"),
    _tool("tcpconnlat", "", "tcp", rf"^{{pid}} +{_WORK} +4 +127.0.0.1 +127.0.0.1 +54321 +[\d.]+"),
    _tool(
        "tcpdrop",
        "",
        "drop",
        rf"^{_CLOCK} {{pid}} +4 +127\.0\.0\.1:\d+ +> 127\.0\.0\.1:54322 +SYN_SENT \(SYN\)",
        r"^\t(b')?tcp_v4_connect\+0x",
    ),
    _tool("tcplife", "", "tcp", rf"^{{pid}} +{_WORK} +127.0.0.1 +\d+ +127.0.0.1 +54321 +[23] +[023] [\d.]+"),
    _tool("tcpretrans", "", "retransmit", r"127.0.0.1:\d+ +R> 127.0.0.1:54322 +SYN_SENT"),
    _tool("tcprtt", "-i 2 -d 2", "tcp", _BUCKET, ends=True),
    _tool("tcpstates", "", "tcp", rf"{{pid}} +{_WORK} +127.0.0.1 +\d+ +127.0.0.1 +54321 +CLOSE +-> SYN_SENT"),
    _tool("tcpsubnet", "-i 1 127.0.0.0/8", "tcp_and_wait", r"127.0.0.0/8 +3000"),
    _tool("tcpsynbl", "", "tcp", r"^backlog_max = 100$"),
    _tool(
        "tcptop",
        "-C 2 1",
        "tcp_and_wait",
        rf"^{{pid}} +(b'{_WORK}'|{_WORK}) +127.0.0.1:\d+ +127.0.0.1:54321 +0 +2$",
        ends=True,
        broken="func 'tcp_recvmsg' doesn't have 6-th argument",
    ),
    _tool("tcptracer", "", "tcp", rf"^C +{{pid}} +{_WORK} +4 +127.0.0.1 +127.0.0.1 +\d+ +54321"),
    _tool(
        "threadsnoop", "", "thread", rf"^\d+ +{{pid}} +(b'{_WORK}'|{_WORK}) +(b'pythread_wrapper'|pythread_wrapper)$"
    ),
    _tool("tplist", "sched:sched_switch", "files", r"^sched:sched_switch$", ends=True),
    BccTool(
        "trace",
        ('do_sys_openat2 "%s", arg2@user',),
        "named",
        (rf"{{pid}} +{{pid}} +{_WORK} +do_sys_openat2 +b?'?/tmp/trapline-bcc/first-name",),
        codes=(0, 1, 130),
    ),
    _tool("ttysnoop", "{tty}", "typing", r"hello terminal"),
    _tool("ucalls", "-l none -S {pid} 2", "everything", r"^openat +[1-9]\d*$"),
    _tool("uflow", "-l python {pid}", "files", lacks=_NO_PROBES),
    _tool("ugc", "-l python {pid}", "files", lacks=_NO_PROBES),
    _tool("uobjnew", "-l c {pid} 2", "allocate", r"^block size 70001 +10 +700010$"),
    _tool("ustat", "-C 2 1", "files", r"^PID +CMDLINE +METHOD/s", ends=True),
    _tool("uthreads", "-l java {pid}", "files", lacks=_NO_PROBES),
    _tool("vfscount", "4", "named", r"vfs_unlink\b.* [1-9]\d*$", ends=True),
    _tool("vfsstat", "2 1", "everything", rf"^{_CLOCK}: +[1-9]\d* +[1-9]", ends=True),
    _tool("virtiostat", "1 1", "files", r"9pnet_virtio", ends=True),
    _tool("wakeuptime", "-p {pid} 2", "everything", rf"target: +{_WORK}$", ends=True),
    _tool("wqlat", "2 1", "everything", _BUCKET, ends=True),
    _tool("xfsdist", "3 1", "xfs", r"^operation = write$", ends=True, modules=("xfs", "loop")),
    _tool("xfsslower", "0", "xfs", _slower("file"), _slower("file", "R"), modules=("xfs", "loop")),
    _tool("zfsdist", "2 1", "files", ends=True, lacks="the kernel has no function z"),
    _tool("zfsslower", "", "files", lacks="the kernel has no function z"),
)
_MOVED = "it tells by the distance of two other fields of struct sock where sk_protocol is; they have moved"
# What is different for the tools of bpfcc-tools 0.26.
_OLDER: dict[str, dict[str, Any]] = {
    "bindsnoop": {"apart": ("sock", "sk_gso_max_segs", "sk_lingertime", 2), "why": _MOVED},
    "cachestat": {
        "broken": r"^ +0 +0 +0 +0\.00% ",
        "why": "it counts mark_page_accessed, which is not called since there are folios",
    },
    "compactsnoop": {
        "broken": "cannot attach to rawtracepoint:mm_compaction_begin: Invalid argument",
        "why": "it reads a fifth argument of the tracepoint mm_compaction_begin, which has four here",
    },
    "filegone": {"knows": ("old_mnt_userns",)},
    "filelife": {"knows": ("old_mnt_userns",)},
    "readahead": {
        "lacks": "the types of the kernel have no function (do_page_cache_ra|__page_cache_alloc)",
        "broken": "",
        "why": "",
    },
    "slabratetop": {
        "broken": "the kernel has no function kmem_cache_alloc",
        "why": "it probes kmem_cache_alloc, which has another name since Linux 6.10",
    },
    "statsnoop": {
        "broken": rf"^\d+ +{_WORK} +0 +0 *$",
        "why": "it takes the registers of a system call for its first argument, and does not probe newfstatat",
    },
    "tcpaccept": {"apart": ("sock", "sk_gso_max_segs", "sk_lingertime", 2), "why": _MOVED},
    "tcptop": {
        "broken": "the kernel has no function tcp_sendpage",
        "why": "it probes tcp_sendpage, which is not there since Linux 6.5",
    },
}
# What the suite runs: each way to attach, each kind of table and output.
_OFTEN = frozenset(
    [
        "argdist",
        "bashreadline",
        "biosnoop",
        "biotop",
        "cachestat",
        "capable",
        "execsnoop",
        "exitsnoop",
        "fileslower",
        "filetop",
        "funccount",
        "funclatency",
        "gethostlatency",
        "killsnoop",
        "memleak",
        "mountsnoop",
        "offcputime",
        "opensnoop",
        "profile",
        "runqlat",
        "shmsnoop",
        "sofdsnoop",
        "solisten",
        "sslsniff",
        "stackcount",
        "syscount",
        "tcpconnect",
        "tcplife",
        "tcpretrans",
        "trace",
        "vfsstat",
    ]
)
# Shell scripts for processes of one language, which start ucalls, uflow …; and one that uses no BPF.
LANGUAGES = re.compile(r"(java|node|perl|php|ppch|python|ruby|tcl)(calls|flow|gc|objnew|stat|threads)|reset-trace")


def rows_of(package: str) -> dict[str, BccTool]:
    """Return the rows for the tools of a package by name."""
    older = _OLDER if package == "0.26" else {}
    return {tool.name: replace(tool, **older.get(tool.name, {})) for tool in TOOLS}


def find_tools(package: str) -> Iterator[tuple[Path, BccTool]]:
    """Yield the tools of a package with their rows.

    Raises:
        KeyError: the package has a tool that the table does not know.
    """
    rows = rows_of(package)
    for path in sorted(PACKAGES[package].glob("sbin/*")):
        name = path.name.removesuffix("-bpfcc")
        if not LANGUAGES.fullmatch(name):
            yield path, rows[name]


def missing_patterns(tool: BccTool, text: str, pid: int) -> list[str]:
    """Return the patterns that a run did not print."""
    wanted = [pattern.replace("{pid}", str(pid)) for pattern in tool.patterns]
    return [pattern for pattern in wanted if not re.search(pattern, text, re.MULTILINE)]


WORKS, STARTS, LACKS, BROKEN, FAILS = "works", "starts", "lacking", "BCC fails too", "ours fails"


def fits(tool: BccTool) -> bool:
    """Whether the tool has a text for the running kernel, as far as the table can tell."""
    if tool.apart and _distance(*tool.apart[:3]) != tool.apart[3]:
        return False
    return not tool.knows or any(f"\0{name}\0".encode() in _type_names() for name in tool.knows)


def _distance(struct: str, first: str, second: str) -> int:
    from trapline.btf.layout import field
    from trapline.btf.types import Struct
    from trapline.engine.machine import machine

    btf = machine().target.btf
    number = btf.find(struct, Struct)
    assert number is not None
    fields = [field(btf, number, name) for name in (first, second)]
    one, other = (found.offset for found in fields if found)
    return other - one


@cache
def _type_names() -> bytes:
    return Path("/sys/kernel/btf/vmlinux").read_bytes()


def verdict(tool: BccTool, done: Done, pid: int, *, fit: bool = True) -> tuple[str, str]:
    """Say how a run ended: one of the five results, and what is missing, or the error; `fit` is what `fits` said."""
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["(no message)"]
    error = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
    failure = ""
    if "Traceback (most recent call last)" in done.stderr and not error.startswith("KeyboardInterrupt"):
        failure = error
    elif done.code not in tool.codes:
        failure = f"exit {done.code}: {error}"
    elif missing := missing_patterns(tool, done.stdout, pid):
        failure = f"does not print {missing[0]}"
    elif tool.patterns:
        return WORKS, ""
    said = f"{done.stdout}\n{done.stderr}"
    if tool.lacks and (found := re.search(f".*(?:{tool.lacks}).*", said)):
        return LACKS, found[0].strip()
    if failure and tool.broken and (found := re.search(f".*(?:{tool.broken}).*", said, re.MULTILINE)):
        return BROKEN, tool.why or found[0].strip()
    if failure and not fit:
        by = f"the tool chooses its text by {' or '.join(tool.knows)}, which this kernel does not have"
        return BROKEN, by if tool.knows else tool.why
    return (FAILS, failure) if failure else (STARTS, tool.why)
