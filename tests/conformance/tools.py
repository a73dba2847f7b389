"""bpftrace's own ``*.bt`` tools: a workload for each, and what the tool must print of it.

The tools come from two packages: Debian 12's bpftrace 0.17 and Debian sid's 0.27. ``python -m tests.conformance.tools``
runs all of them on the running kernel, beside bpftrace, and prints how each ended.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conformance.in_process import Done, run_command_line
from tests.harness.features import PEERS
from tests.harness.limits import scaled
from tests.harness.peers import run_peer

PACKAGES = {"0.17": PEERS.parent / "tools", "0.27": PEERS / "usr/sbin"}
_WORKLOAD = Path(__file__).with_name("tool_workload.py")
_CLOCK = r"\d\d:\d\d:\d\d"
# Variables of a block that ended: the tools of 0.17 are not programs of bpftrace 0.27 any more.
_BLOCKS = "in bpftrace 0.27 a variable ends with the block that assigns it first"
_SCOPE = ("Undefined or undeclared variable: $saddr",)
# bpftrace 0.17 passed over a function that is missing if the block names another; 0.27 does not.
_INLINED = "blk_account_io_start and blk_account_io_done cannot be traced (inline or notrace)"
_BLOCK = tuple(
    f"no function {name}" for name in ("__blk_account_io_done", "__blk_account_io_start", "blk_start_request")
)
# The tools of 0.17 name functions of libcrypto that only its debug symbols have.
_DEBUG_SYMBOLS = ("No matches for uprobe libcrypto:", "no file libcrypto")
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_IN_OUR_ROOT = {
    "/bin/bash": "/usr/bin/bash",
    "libc": f"{_LIBRARIES}/libc.so.6",
    "libpthread": f"{_LIBRARIES}/libpthread.so.0",
    "libssl": f"{_LIBRARIES}/libssl.so.3",
    "libcrypto": f"{_LIBRARIES}/libcrypto.so.3",
}
# The tools of 0.17 name functions of several kernels, which 0.17 passed over; newer ones do when this says so.
LENIENT = {"BPFTRACE_MISSING_PROBES": "warn"}
_ENDED = "bpftrace shows functions of a process that has ended as numbers"
_MOVED = "glibc 2.34 moved it to libc, where the tool of 0.27 looks for it"
_BUCKET = r"^\[\d+[KMG]?(, \d+[KMG]?\)|\]) +\d+ \|@+"


@dataclass(frozen=True)
class Tool:
    """A tool.

    Args:
        name: without ``.bt``.
        workload: a name of tool_workload.py.
        patterns: each matches somewhere in what it prints; none: that it attaches is all that this machine can show.
        why: what is missing where it prints nothing.
        needs: rows of tests/harness/features.py, besides those for its probes.
        absent: what the error says on a kernel that has not what the tool probes.
        modules: kernel modules to load before, because the tool probes them.
        peer: why bpftrace prints less.
    """

    name: str
    workload: str = "files"
    patterns: tuple[str, ...] = ()
    why: str = ""
    needs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    peer: str = ""


TOOLS = (
    Tool("bashreadline", "bash", (rf"^{_CLOCK}  \d+ +echo typed; exit$",)),
    Tool("biolatency", "block", (_BUCKET,), _INLINED, ("module_tree",), _BLOCK),
    Tool("biolatency-kp", "block", why=_INLINED),
    Tool("biosnoop", "block", (r"python3 +\d+ +\d+$",), _INLINED, ("module_tree",), _BLOCK),
    Tool("biostacks", "block", (_BUCKET, r"blk_mq_|submit_bio"), _INLINED, ("module_tree",), _BLOCK),
    Tool("bitesize", "block", (r"^@\[python3\]:", r"^\[8K, 16K\) +4 \|@+"), needs=("module_tree",)),
    Tool("capable", "ids", (r"python3 +7 +CAP_SETUID",)),
    Tool("cpuwalk", "busy", (_BUCKET,)),
    Tool("dcsnoop", "files", (r"python3 +R (etc|passwd)", r"python3 +M no-such-file-here-\d+$")),
    Tool("execsnoop", "commands", (r"/bin/true first second$",)),
    Tool("gethostlatency", "lookup", (r"python3 +\d+ localhost$",)),
    Tool("killsnoop", "kill", (r"python3 +(28|SIGWINCH) +\d+ +0$",)),
    Tool("loads", "second", (rf"^{_CLOCK} load averages: \d+\.\d+ \d+\.\d+ \d+\.\d+$",), needs=("kallsyms_data",)),
    Tool(
        "mdflush",
        "md",
        (rf"^{_CLOCK} \d+ +\S+ +md127$",),
        needs=("module_tree",),
        absent=("no function md_flush_request",),
        modules=("raid1",),
    ),
    Tool("naptime", "nap", (r"python3 +0\.005$",)),
    Tool("oomkill", "out_of_memory", (r"OOM kill of PID \d+ \(\"?python3\"?\)",)),
    Tool("opensnoop", "files", (r"python3 +\d+ +0 /etc/passwd$", r"python3 +-1 +2 /no-such-file-here-\d+$")),
    Tool("pidpersec", "second", (r"PIDs/sec: @: [1-9]\d*$",)),
    Tool("runqlat", "files", (r"^@usecs:", _BUCKET)),
    Tool("runqlen", "busy", (r"^@runqlen:", _BUCKET), absent=("field named 'nr_running'", "field named 'nr_queued'")),
    Tool("setuids", "ids", (r"setuid +uid=0 \(0\)$", r"setresuid +ruid=0 euid=0 suid=0 \(0\)$")),
    Tool(
        "ssllatency",
        "tls",
        (r"^@hist\[SSL_(write|read)\]:", r"^@stat\[SSL_do_handshake\]: { .count = "),
        absent=_DEBUG_SYMBOLS,
        peer=_ENDED,
    ),
    Tool(
        "sslsnoop",
        "tls",
        (r" python3 +\d+ +23 SSL_write$", r" python3 +\d+ +23 SSL_read$", r" python3 +\d+ +1 SSL_do_handshake$"),
        absent=_DEBUG_SYMBOLS,
        peer=_ENDED,
    ),
    Tool("statsnoop", "files", (r"python3 +0 /etc/passwd$", r"python3 +2 /no-such-file-here-\d+$")),
    Tool("swapin", "swap", (r"^@\[python3, \d+\]: \d+$",), needs=("module_tree",)),
    Tool("syncsnoop", "files", (r"python3 +tracepoint:syscalls:sys_enter_fsync$",)),
    Tool("syscount", "files", (r"^@(process|comm)\w*\[python3\]: \d+$|^@\w*\[\w+\]: \d+$",)),
    Tool("tcpaccept", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +54321 +0/100$",)),
    Tool("tcpconnect", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +54321 *$",), _BLOCKS, absent=_SCOPE),
    Tool("tcpdrop", "retransmit", (r"127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ +\w+",), _BLOCKS, absent=_SCOPE),
    Tool("tcplife", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +\d+ +[023] +[023] +\d+$",)),
    Tool("tcpretrans", "retransmit", (r"127\.0\.0\.1:\d+ +127\.0\.0\.1:54322 +SYN_SENT$",)),
    Tool("tcpsynbl", "tcp", (r"^@backlog\[100\]:", _BUCKET)),
    Tool("threadsnoop", "thread", (r"python3 +\S+$",), _MOVED, absent=("No matches for uprobe libpthread:",)),
    Tool("undump", "unix", (r"python3 +\d+ +23 +hello from the workload$",)),
    Tool("vfscount", "files", (r"^@\[vfs_(open|read|write)\]: \d+$",)),
    Tool("vfsstat", "second", (r"^@\[vfs_open\]: \d+$",)),
    Tool("writeback", "writeback", (rf"^{_CLOCK}  \S+ +\d+ +\w+ +\d+\.\d+$",), needs=("module_tree",)),
    Tool(
        "xfsdist",
        "xfs",
        (*(rf"^@us\[xfs_file_{name}\]:" for name in ("read_iter", "write_iter", "fsync", "open")), _BUCKET),
        needs=("module_tree",),
        absent=("no function xfs_file_read_iter",),
        modules=("xfs", "loop"),
    ),
)


def find_tools(package: str) -> Iterator[tuple[Path, Tool]]:
    """Yield the scripts of a package with their rows; a script without one is an error.

    Raises:
        KeyError: the package has a tool that the table does not know.
    """
    rows = {tool.name: tool for tool in TOOLS}
    for path in sorted(PACKAGES[package].glob("*.bt")):
        yield path, rows[path.stem]


def arguments(path: Path, tool: Tool) -> list[str]:
    """Return the command line that runs a tool on its workload."""
    return [str(path), "-c", f"/usr/bin/python3 -I -S {_WORKLOAD} {tool.workload}"]


def _load_modules(tool: Tool) -> None:
    for module in tool.modules:
        if not Path(f"/sys/module/{module}").exists():
            subprocess.run(["modprobe", module], check=False, capture_output=True, timeout=scaled(10))


def run_ours(path: Path, tool: Tool, folder: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run a tool with trapline, in this process."""
    _load_modules(tool)
    return run_command_line(arguments(path, tool), folder, environment)


def run_theirs(path: Path, tool: Tool, folder: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run a tool with the peer, in a guest.

    The script goes through `folder`, below ``/tmp``. The peer's root has no Python, so the workload runs in ours; for
    that, the script's paths to programs and libraries lead there.
    """
    _load_modules(tool)
    _show_our_root()
    script = folder / path.name
    script.write_text(re.sub(rf"(?m)^(u(?:ret)?probe:)({'|'.join(_IN_OUR_ROOT)}):", _to_our_root, path.read_text()))
    command = f"/usr/sbin/chroot /proc/1/root /usr/bin/python3 -I -S {_WORKLOAD} {tool.workload}"
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    try:
        done = run_peer(["env", *variables, "bpftrace", str(script), "-c", command], timeout_s=scaled(15))
    except subprocess.TimeoutExpired as late:
        return Done((late.stdout or b"").decode("utf-8", "replace"), "ERROR: hung", 124)
    return Done(done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), done.returncode)


def _to_our_root(match: re.Match[str]) -> str:
    return f"{match[1]}/mnt{_IN_OUR_ROOT[match[2]]}:"


@cache
def _show_our_root() -> None:
    """Mount our root and C headers into the peer's, for programs that both can see."""
    for source, target in (("/", PEERS / "mnt"), ("/usr/include", PEERS / "usr/include")):
        subprocess.run(["mount", "--bind", source, str(target)], check=True, timeout=60)


def missing_patterns(tool: Tool, done: Done) -> list[str]:
    """Return the patterns that a run did not print."""
    return [pattern for pattern in tool.patterns if not re.search(pattern, done.stdout, re.MULTILINE)]


def verdict(tool: Tool, done: Done) -> str:
    """Say how a run ended: ``ok``, what is missing, or its first error."""
    if done.code:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines() or [""]
        return f"exit {done.code}: {errors[0][:150]}"
    missing = missing_patterns(tool, done)
    return f"does not print {missing[0]}" if missing else "ok" if tool.patterns else f"attaches ({tool.why})"


def _record(done: Done) -> dict[str, object]:
    return {"code": done.code, "stdout": done.stdout[-20_000:], "stderr": done.stderr[-4_000:]}


def main() -> None:
    """Run tools and print how each ended, here and with the peer."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.tools", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="tools (default: all)")
    parser.add_argument("--package", action="append", choices=[*PACKAGES], help="default: both")
    parser.add_argument("--peer", action="store_true", help="run bpftrace beside")
    parser.add_argument("--results", type=Path, help="append what was printed, for tools_table.py")
    options = parser.parse_args()
    for package in options.package or PACKAGES:
        for path, tool in find_tools(package):
            if options.names and tool.name not in options.names:
                continue
            record: dict[str, object] = {"kernel": os.uname().release, "package": package, "tool": tool.name}
            with tempfile.TemporaryDirectory(dir="/tmp") as name:
                runs = {"ours": run_ours(path, tool, Path(name))}
                if options.peer:
                    runs["theirs"] = run_theirs(path, tool, Path(name))
                if any(words in runs["ours"].stderr for words in ("No matches", "has no function")):
                    runs["ours_lenient"] = run_ours(path, tool, Path(name), LENIENT)
                    if options.peer:
                        runs["theirs_lenient"] = run_theirs(path, tool, Path(name), LENIENT)
            for who, done in runs.items():
                print(f"{package} {tool.name}: {who}: {verdict(tool, done)}", flush=True)
                record[who] = _record(done)
            if verdict(tool, runs["ours"]) != "ok":
                for who, done in runs.items():
                    print(f"--- {who}\n{done.stdout[-600:]}{done.stderr[-1500:]}", flush=True)
            if options.results:
                with options.results.open("a") as results:
                    results.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
