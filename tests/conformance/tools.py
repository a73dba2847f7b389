"""bpftrace's own ``*.bt`` tools: a workload for each, and what the tool must print of it.

The tools come from two packages: Debian 12's bpftrace 0.17 and Debian sid's 0.27. ``python -m tests.conformance.tools``
runs all of them on the running kernel, beside bpftrace, and prints how each ended.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.in_process import Done, run_command_line
from tests.harness.features import PEERS
from tests.harness.limits import scaled
from tests.harness.peers import run_peer

PACKAGES = {"0.17": PEERS.parent / "tools", "0.27": PEERS / "usr/sbin"}
_WORKLOAD = Path(__file__).with_name("tool_workload.py")
_CLOCK = r"\d\d:\d\d:\d\d"
# Variables of a block that ended: the tools of 0.17 are not programs of bpftrace 0.27 any more.
_SCOPE = ("Undefined or undeclared variable: $saddr",)
# bpftrace 0.17 passed over a function that is missing if the block names another; 0.27 does not.
_BLOCK = tuple(
    f"no function {name}" for name in ("__blk_account_io_done", "__blk_account_io_start", "blk_start_request")
)
# The tools of 0.17 name functions of libcrypto that only its debug symbols have.
_DEBUG_SYMBOLS = ("No matches for uprobe libcrypto:", "no file libcrypto")
_BUCKET = r"^\[\d+[KMG]?(, \d+[KMG]?\)|\]) +\d+ \|@+"


@dataclass(frozen=True)
class Tool:
    """A tool.

    Args:
        name: without ``.bt``.
        workload: a name of tool_workload.py.
        patterns: each matches somewhere in what it prints; none: that it attaches is all that this machine can show.
        why: what is missing for more.
        needs: rows of tests/harness/features.py, besides those for its probes.
        absent: what the error says on a kernel that has not what the tool probes.
    """

    name: str
    workload: str = "files"
    patterns: tuple[str, ...] = ()
    why: str = ""
    needs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


TOOLS = (
    Tool("bashreadline", "bash", (rf"^{_CLOCK}  \d+ +echo typed; exit$",)),
    Tool("biolatency", "block", (_BUCKET,), needs=("module_tree",), absent=_BLOCK),
    Tool("biolatency-kp", "block", why="newer kernels inline its functions or mark them notrace"),
    Tool("biosnoop", "block", (r"python3 +\d+ +\d+$",), needs=("module_tree",), absent=_BLOCK),
    Tool("biostacks", "block", (_BUCKET, r"blk_mq_|submit_bio"), needs=("module_tree",), absent=_BLOCK),
    Tool("bitesize", "block", (r"^@\[python3\]:", r"^\[8K, 16K\) +4 \|@+"), needs=("module_tree",)),
    Tool("capable", "ids", (r"python3 +7 +CAP_SETUID",)),
    Tool("cpuwalk", "busy", (_BUCKET,)),
    Tool("dcsnoop", "files", (r"python3 +R (etc|passwd)", r"python3 +M no-such-file-here$")),
    Tool("execsnoop", "commands", (r"/bin/true first second$",)),
    Tool("gethostlatency", "lookup", (r"python3 +\d+ localhost$",)),
    Tool("killsnoop", "kill", (r"python3 +(28|SIGWINCH) +\d+ +0$",)),
    Tool("loads", "second", (rf"^{_CLOCK} load averages: \d+\.\d+ \d+\.\d+ \d+\.\d+$",), needs=("kallsyms_data",)),
    Tool("mdflush", why="needs an md array", absent=("no function md_flush_request",)),
    Tool("naptime", "nap", (r"python3 +0\.005$",)),
    Tool("oomkill", "out_of_memory", (r"OOM kill of PID \d+ \(\"?python3\"?\)",)),
    Tool("opensnoop", "files", (r"python3 +\d+ +0 /etc/passwd$", r"python3 +-1 +2 /no-such-file-here$")),
    Tool("pidpersec", "second", (r"PIDs/sec: @: [1-9]\d*$",)),
    Tool("runqlat", "files", (r"^@usecs:", _BUCKET)),
    Tool("runqlen", "busy", (r"^@runqlen:", _BUCKET), absent=("field named 'nr_running'", "field named 'nr_queued'")),
    Tool("setuids", "ids", (r"setuid +uid=0 \(0\)$", r"setresuid +ruid=0 euid=0 suid=0 \(0\)$")),
    Tool("ssllatency", why="needs a TLS server", absent=_DEBUG_SYMBOLS),
    Tool("sslsnoop", why="needs a TLS server", absent=_DEBUG_SYMBOLS),
    Tool("statsnoop", "files", (r"python3 +0 /etc/passwd$", r"python3 +2 /no-such-file-here$")),
    Tool("swapin", "swap", (r"^@\[python3, \d+\]: \d+$",), needs=("module_tree",)),
    Tool("syncsnoop", "files", (r"python3 +tracepoint:syscalls:sys_enter_fsync$",)),
    Tool("syscount", "files", (r"^@(process|comm)\w*\[python3\]: \d+$|^@\w*\[\w+\]: \d+$",)),
    Tool("tcpaccept", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +54321 +0/100$",)),
    Tool("tcpconnect", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +54321 *$",), absent=_SCOPE),
    Tool("tcpdrop", "retransmit", (r"127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ +\w+",), absent=_SCOPE),
    Tool("tcplife", "tcp", (r"python3 +127\.0\.0\.1 +\d+ +127\.0\.0\.1 +\d+ +[023] +[023] +\d+$",)),
    Tool("tcpretrans", "retransmit", (r"127\.0\.0\.1:\d+ +127\.0\.0\.1:54322 +SYN_SENT$",)),
    Tool("tcpsynbl", "tcp", (r"^@backlog\[100\]:", _BUCKET)),
    # glibc 2.34 moved the function from libpthread to libc, where only the newer tool looks for it.
    Tool("threadsnoop", "thread", (r"python3 +\S+$",), absent=("No matches for uprobe libpthread:",)),
    Tool("undump", "unix", (r"python3 +\d+ +23 +hello from the workload$",)),
    Tool("vfscount", "files", (r"^@\[vfs_(open|read|write)\]: \d+$",)),
    Tool("vfsstat", "second", (r"^@\[vfs_open\]: \d+$",)),
    Tool("writeback", "writeback", (rf"^{_CLOCK}  \S+ +\d+ +\w+ +\d+\.\d+$",), needs=("module_tree",)),
    Tool("xfsdist", why="needs an XFS file system", absent=("no function xfs_file_read_iter",)),
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


def run_ours(path: Path, tool: Tool, folder: Path) -> Done:
    """Run a tool with trapline, in this process."""
    return run_command_line(arguments(path, tool), folder)


def run_theirs(path: Path, tool: Tool, folder: Path) -> Done:
    """Run a tool with the peer; the script and the workload go through `folder`, below ``/tmp``."""
    script = folder / path.name
    shutil.copy(path, script)
    shutil.copy(_WORKLOAD, folder)
    # The peer's root has no Python: the workload runs in ours.
    command = f"/usr/sbin/chroot /proc/1/root /usr/bin/python3 -I -S {folder}/{_WORKLOAD.name} {tool.workload}"
    try:
        done = run_peer(["bpftrace", str(script), "-c", command], timeout_s=scaled(15))
    except subprocess.TimeoutExpired as late:
        return Done((late.stdout or b"").decode("utf-8", "replace"), "ERROR: hung", 124)
    return Done(done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), done.returncode)


def missing_patterns(tool: Tool, done: Done) -> list[str]:
    """Return the patterns that a run did not print."""
    return [pattern for pattern in tool.patterns if not re.search(pattern, done.stdout, re.MULTILINE)]


def _verdict(tool: Tool, done: Done) -> str:
    if done.code:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines() or [""]
        return f"exit {done.code}: {errors[0][:150]}"
    missing = missing_patterns(tool, done)
    return f"does not print {missing[0]}" if missing else "ok" if tool.patterns else f"attaches ({tool.why})"


def main(packages: list[str]) -> None:
    """Run the tools of packages and print how each ended, here and with the peer."""
    for package in packages:
        for path, tool in find_tools(package):
            with tempfile.TemporaryDirectory(dir="/tmp") as name:
                ours = run_ours(path, tool, Path(name))
                verdict = _verdict(tool, ours)
                print(f"{package} {tool.name}: {verdict}", flush=True)
                if "--peer" in sys.argv:
                    theirs = run_theirs(path, tool, Path(name))
                    print(f"{package} {tool.name}: peer: {_verdict(tool, theirs)}", flush=True)
                    if verdict not in ("ok",):
                        print("--- ours\n" + ours.stdout[-600:] + ours.stderr[-1500:] + "--- theirs\n", end="")
                        print(theirs.stdout[-600:] + theirs.stderr[-500:], flush=True)


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if not word.startswith("-")] or list(PACKAGES))
