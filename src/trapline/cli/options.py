"""The command line's options: a table of rows, parsed as C's getopt does (clusters, permutation, ``--``)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trapline.errors import TraplineError
from trapline.hints import TYPE_CHECKING
from trapline.records import field, record

if TYPE_CHECKING or "gettext" in sys.modules:
    import getopt
else:
    # It does without gettext where Python has none.  Its messages are not shown, and the regular expressions of gettext
    # take a tenth of a warm start.
    sys.modules["gettext"] = None
    try:
        import getopt
    finally:
        del sys.modules["gettext"]


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
    Option(("-k", "--warnings"), "", "report failing memory reads and map look-ups at run time"),
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
    Option(("--emit-elf",), "FILE", "write the object file with the BPF programs to FILE"),
    Option(("--emit-llvm",), "FILE", "write LLVM's IR to FILE.original.ll and FILE.optimized.ll"),
    Option(("-h", "--help"), "", "print this help"),
    Option(("-V", "--version"), "", "print the version"),
    Option(("--verify-llvm-ir",), "", "", hidden=True),
    Option(("--usdt-file-activation",), "", "", hidden=True),
    Option(("--btf", "-b"), "", "", hidden=True),
    Option(("--dwarf-pid",), "PID", "", hidden=True),
)

_MAX_PID = 1 << 22  # the kernel's PID_MAX_LIMIT
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
    emit_elf: str | None = None
    emit_llvm: str | None = None
    help: bool = False
    version: bool = False
    operands: tuple[str, ...] = field(default=())


class UsageError(TraplineError):
    """The command line makes no sense.

    Args:
        message: what is wrong with it.
        hint: what to write instead, or ``None``.
        usage: whether the forms of the command line are worth showing, too.
    """

    def __init__(self, message: str, *, hint: str | None = None, usage: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.usage = usage


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        words = ", ".join(f"'{choice}'" for choice in choices)
        raise UsageError(f"USAGE: {name} must be one of {words}, not '{value}'", hint=_near_hint(value, choices))
    return value


def _near_hint(word: str, known: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(word, known, 1)
    return f"did you mean '{near[0]}'?" if near else None


def _unknown(error: getopt.GetoptError, long: Sequence[str]) -> UsageError:
    """Say in getopt(3)'s words what an option is missing, and what it may have meant."""
    option = error.opt
    if "requires argument" in error.msg or "must not have" in error.msg:
        return UsageError(error.msg, usage=True)
    if len(option) == 1:
        return UsageError(f"invalid option -- '{option}'", hint="trapline --help lists the options", usage=True)
    near = _near_hint(option, [name.rstrip("=") for name in long])
    hint = near.replace("'", "'--", 1) if near else "options for the program stand behind --; --help lists ours"
    return UsageError(f"unrecognized option '--{option}'", hint=hint, usage=True)


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
        raise _unknown(error, long) from None
    found = Arguments()
    for name, value in pairs:
        _set(found, _BY_NAME[name].names[0], name, value)
    if found.program is None and not found.list and operands:
        found.file = operands.pop(0)
    found.operands = tuple(operands)
    if found.pid is not None and found.command is not None:
        raise UsageError(
            "USAGE: Cannot use both -c and -p.", hint="trace either a new command or a running process", usage=True
        )
    return found


def _process_id(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise UsageError(f"Failed to parse pid: invalid integer: {value}", hint="-p takes the number of a process")
    if not 1 <= int(value) <= _MAX_PID:
        raise UsageError(f"Pid out of range: {value}", hint=f"process ids are 1 to {_MAX_PID}")
    return int(value)


def _set(found: Arguments, key: str, name: str, value: str) -> None:
    """Store one option; `key` is the first name of its row."""
    if key == "-p":
        found.pid = _process_id(value)
    elif key == "-c":
        found.command = value if value.strip() else None
    elif key == "--dwarf-pid":
        _process_id(value)
    elif key == "-f":
        if value not in ("text", "json"):
            raise UsageError(f"Invalid output format \"{value}\"\nValid formats: 'text', 'json'")
        found.format = value
    elif key == "-B":
        found.buffering = _choice("-B", value, ("line", "full", "none"))
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
        found.mode = _choice("--mode", value, ("codegen", "bench", "test", "format"))
    elif key == "-I":
        found.include_dirs += (value,)
    elif key == "--include":
        found.includes += (value,)
    elif key in _FIELDS:
        setattr(found, _FIELDS[key], value if _BY_NAME[name].value else True)


_FIELDS = {
    "-e": "program",
    "-l": "list",
    "-o": "output",
    "-q": "quiet",
    "--no-warnings": "no_warnings",
    "--unsafe": "unsafe",
    "--info": "info",
    "--dry-run": "dry_run",
    "--probe-filter": "probe_filter",
    "--traceable-functions": "traceable_functions",
    "--debuginfo": "debuginfo",
    "--emit-elf": "emit_elf",
    "--emit-llvm": "emit_llvm",
    "-h": "help",
    "-V": "version",
}


USAGE = (
    "USAGE:",
    "    trapline [options] FILE [-- arguments]",
    "    trapline [options] - [-- arguments]        (program on standard input)",
    "    trapline [options] -e 'PROGRAM' [-- arguments]",
    "    trapline -l[v] [PATTERN | FILE | 'struct NAME']",
    "    trapline bcc SCRIPT.py [arguments]         (run a BCC script)",
)


def format_help() -> str:
    """Return the text of ``--help``."""
    lines = [*USAGE, "", "OPTIONS:"]
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
