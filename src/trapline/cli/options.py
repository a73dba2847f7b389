"""The command line's options: a table of rows, parsed as C's getopt does (clusters, permutation, ``--``)."""

from __future__ import annotations

import getopt
from collections.abc import Sequence

from trapline.errors import TraplineError
from trapline.records import field, record


@record(frozen=True)
class Option:
    """One option: its names, the name of its value (empty: a flag), and its help line."""

    names: tuple[str, ...]
    value: str
    help: str
    hidden: bool = False


OPTIONS = (
    Option(("-e",), "PROGRAM", "run this program"),
    Option(("-l", "--list"), "", "list the probes that match a pattern, or those of a program"),
    Option(("-p", "--pid"), "PID", "trace only this process; end when it ends"),
    Option(("-c", "--cmd"), "COMMAND", "run this command when the probes are attached; end when it ends"),
    Option(("-o", "--output"), "FILE", "write the output to FILE"),
    Option(("-f",), "FORMAT", "output format: text (default) or json"),
    Option(("-B",), "MODE", "output buffering: line (default on a terminal), full, none"),
    Option(("-q", "--quiet"), "", "no messages of our own"),
    Option(("-v", "--verbose"), "", "verbose messages; with -l the probes' arguments"),
    Option(
        ("-d", "--debug"), "STAGE", "print a compiler stage: ast, types, ir, codegen, codegen-opt, dis, verifier, all"
    ),
    Option(("-k", "--warnings"), "", "report failing helper calls at run time (-kk: all of them)"),
    Option(("--no-warnings",), "", "no warnings"),
    Option(("--unsafe",), "", "allow probes on raw addresses and functions with side effects"),
    Option(("--info",), "", "print what this machine and kernel can do"),
    Option(("--dry-run",), "", "stop after the probes were attached"),
    Option(("--test",), "", "run the program's test blocks"),
    Option(("--bench",), "", "run the program's bench blocks"),
    Option(("--fmt",), "", "print the program in the common style"),
    Option(("--mode",), "MODE", "what to do with the program: codegen (only compile it), format, test, bench"),
    Option(("--probe-filter",), "REGEX", "attach only the probes whose name matches"),
    Option(("--no-feature",), "LIST", "do without these kernel features (kprobe_multi, kprobe_session, uprobe_multi)"),
    Option(("-I",), "DIR", "search this directory for included C headers"),
    Option(("--include",), "FILE", "include this C header before the program"),
    Option(("--traceable-functions",), "FILE", "read the traceable functions from FILE"),
    Option(("--debuginfo",), "DIR[:DIR]", "search for separate debug files there; a + before checks their CRC"),
    Option(("-h", "--help"), "", "print this help"),
    Option(("-V", "--version"), "", "print the version"),
    Option(("--verify-llvm-ir",), "", "", hidden=True),
    Option(("--usdt-file-activation",), "", "", hidden=True),
    Option(("--btf", "-b"), "", "", hidden=True),
)

_BY_NAME = {name: option for option in OPTIONS for name in option.names}


@record
class Arguments:
    """What the user asked for."""

    program: str | None = None
    file: str | None = None
    list: bool = False
    pid: int | None = None
    command: str | None = None
    output: str | None = None
    format: str = "text"
    buffering: str = ""
    quiet: bool = False
    verbose: int = 0
    debug: tuple[str, ...] = ()
    warnings: int = 0
    no_warnings: bool = False
    unsafe: bool = False
    info: bool = False
    dry_run: bool = False
    mode: str = ""
    probe_filter: str | None = None
    without: tuple[str, ...] = ()
    include_dirs: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    traceable_functions: str | None = None
    debuginfo: str | None = None
    help: bool = False
    version: bool = False
    operands: tuple[str, ...] = field(default=())


class UsageError(TraplineError):
    """The command line makes no sense."""


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UsageError(f"{name}: '{value}' is none of {', '.join(choices)}")
    return value


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Parse the command line (without the program's name).

    Raises:
        UsageError: an unknown option, a missing or malformed value, options that exclude each other.
    """
    short = "".join(
        name[1] + (":" if option.value else "") for option in OPTIONS for name in option.names if len(name) == 2
    )
    long = [name[2:] + ("=" if option.value else "") for option in OPTIONS for name in option.names if len(name) > 2]
    try:
        pairs, operands = getopt.gnu_getopt(list(argv), short, long)
    except getopt.GetoptError as error:
        raise UsageError(str(error), hint="trapline --help lists the options") from None
    found = Arguments()
    for name, value in pairs:
        _set(found, _BY_NAME[name].names[0], name, value)
    if found.program is None and not found.list and operands:
        found.file = operands.pop(0)
    found.operands = tuple(operands)
    if found.pid is not None and found.command is not None:
        raise UsageError("-c and -p exclude each other", hint="trace either a new command or a running process")
    return found


def _set(found: Arguments, key: str, name: str, value: str) -> None:
    """Store one option; `key` is the first name of its row."""
    if key == "-p":
        if not value.isdecimal() or int(value) == 0:
            raise UsageError(f"-p: '{value}' is not a process id")
        found.pid = int(value)
    elif key == "-f":
        found.format = _choice("-f", value, ("text", "json"))
    elif key == "-B":
        found.buffering = _choice("-B", value, ("none", "line", "full"))
    elif key == "-d":
        found.debug += tuple(stage for stage in value.split(",") if stage)
    elif key == "-v":
        found.verbose += 1
    elif key == "-k":
        found.warnings += 1
    elif key == "--no-feature":
        found.without += tuple(feature for feature in value.split(",") if feature)
    elif key in ("--test", "--bench"):
        found.mode = key[2:]
    elif key == "--fmt":
        found.mode = "format"
    elif key == "--mode":
        found.mode = _choice("--mode", value, ("codegen", "format", "test", "bench"))
    elif key == "-I":
        found.include_dirs += (value,)
    elif key == "--include":
        found.includes += (value,)
    elif key in _FIELDS:
        setattr(found, _FIELDS[key], value if _BY_NAME[name].value else True)


_FIELDS = {
    "-e": "program",
    "-l": "list",
    "-c": "command",
    "-o": "output",
    "-q": "quiet",
    "--no-warnings": "no_warnings",
    "--unsafe": "unsafe",
    "--info": "info",
    "--dry-run": "dry_run",
    "--probe-filter": "probe_filter",
    "--traceable-functions": "traceable_functions",
    "--debuginfo": "debuginfo",
    "-h": "help",
    "-V": "version",
}


def format_help() -> str:
    """Return the text of ``--help``."""
    lines = [
        "USAGE:",
        "    trapline [options] FILE [-- arguments]",
        "    trapline [options] - [-- arguments]        (program on standard input)",
        "    trapline [options] -e 'PROGRAM' [-- arguments]",
        "    trapline -l[v] [PATTERN | FILE | 'struct NAME']",
        "    trapline bcc SCRIPT.py [arguments]         (run a BCC script)",
        "",
        "OPTIONS:",
    ]
    for option in OPTIONS:
        if not option.hidden:
            lines.append(
                f"    {', '.join(option.names) + (' ' + option.value if option.value else ''):<27} {option.help}"
            )
    lines += [
        "",
        "EXAMPLES:",
        "    trapline -l 'kprobe:*sleep*'",
        '        list the kernel functions with "sleep" in their name',
        "    trapline -e 'kprobe:do_nanosleep { printf(\"%s sleeps, pid %d\\n\", comm, pid); }'",
        "        say who sleeps",
        "    trapline -e 'kprobe:do_sys_openat2 { printf(\"%s\\n\", str(args.filename)); }'",
        "        print the names of files as they are opened",
    ]
    return "\n".join(lines) + "\n"
