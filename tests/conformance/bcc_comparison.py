"""Compare what one of BCC's tools printed with BCC and with trapline, on the same workload.

Compared are the exit code, what went to stderr, the headings byte for byte, the rows of the workload with their values
and columns, what the table of bcc_tools.py wants to see, and the form of all other rows. Masked is what no two runs
share: processes, times, addresses, and for each tool what `_VARIES` says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.bcc_tools import BccTool, missing_patterns
from tests.conformance.bcc_workload import COMM
from tests.conformance.in_process import Done

SAME, DIFFERS, BCC_FAILS, OURS_FAILS, NEITHER = "same", "differs", "BCC fails", "ours fails", "neither runs"
# A terminal goes to a line, to the first line, or to a column.
_MOVE = re.compile(r"\x1b\[(?:(?P<line>\d+)(?:;\d+H|d)|(?P<home>H)|\d+G)")
# BCC itself, which is started for each tool, and trapline.
_TRACER = re.compile(r"\bld-linux-x86-64|\bpython")
_TERMINAL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])|[\x0e\x0f\r]")
_MASKS = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "00:00:00"),
    (re.compile(r"/tmp/tmp\w{8}"), "/tmp/tmpNAME"),
    (re.compile(r"/dev/pts/\d+"), "/dev/pts/N"),
)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.(\d+))?(?![\w.]*\w)")
_ADDRESS = re.compile(r"\b(?:0x[0-9a-f]{9,16}|[0-9a-f]{16}|(?=\d*[a-f])[0-9a-f]{12})\b")
# The ports that the kernel gives to clients, but for those of the workload's servers.
_CLIENT_PORT = re.compile(r"\b(?!5432[12]\b)(?:3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})\b")
_HEADING = re.compile(
    r"Ctrl-C|^Tracing|^Sampling|: count +distribution$|^(?=.*[A-Z]{2})[^a-z\d]*$"
    r"|^\D*(?<!\S)[A-Z]{2,}\S*\s\D*(?<!\S)[A-Z]{2,}\D*$"  # two words in capitals and no number: "PID COMM LATms HOST"
)
# tool → what differs from run to run in the rows of the workload: the groups are masked.
_VARIES: dict[str, tuple[str, ...]] = {
    "cachetop": (rf"^ *(\d+) root +{COMM} +(\d+) +(\d+) ",),
    "compactsnoop": (r" (\d) +ZONE_(\w+)", r"SYNC +[\d.]+ +(\w+)$"),
    "drsnoop": (r" (\d+)$",),
    "execsnoop": (r"^true +(\d+)",),
    "exitsnoop": (r"^\w+ +(\d+) +\d+ +\d+ ", r"^\w+ +\S+ +\d+ +(\d+) "),
    # As often as the workload came round in its time.
    "filetop": (r"bccwork +(\d+) +(\d+) +(\d+) +(\d+)",),
    "syscount": (r"bccwork +(\d+)",),
    "offwaketime": (r"^ *(?:target|waker): +(\S.*)$",),
    "oomkill": (r"PID (\d+) \(\S+ OOM kill of PID (\d+) ", r" (\d+/\d+) (\d+)$"),
    "runqslower": (rf"{COMM} +(\d+) +(\d+)$",),
    "shmsnoop": (r"SHMGET +(\w+)", r"shmid: (\w+)"),
}
# Their rows come as often as a sample, or a switch of tasks, hits the workload.
_SAMPLED = frozenset(
    {"cachetop", "compactsnoop", "drsnoop", "numasched", "profile", "runqslower"}
    | {"offcputime", "offwaketime", "wakeuptime"}
)


@dataclass(frozen=True)
class Outcome:
    """What the comparison of a tool found.

    Args:
        result: one of the constants above.
        how: the differences, or how BCC failed; empty when both are the same.
    """

    result: str
    how: tuple[str, ...] = ()


def compare(record: Mapping[str, Any]) -> Outcome:
    """Judge a record of bcc_differential.py."""
    # The row as it was when the tool ran: the table may say something else by now.
    row = {name: tuple(value) if isinstance(value, list) else value for name, value in record["row"].items()}
    tool = BccTool(**row)
    bcc, ours = (Printed(tool, record[label]) for label in ("bcc", "trapline"))
    if bcc.failure:
        if not ours.failure:
            return Outcome(BCC_FAILS, (bcc.failure,))
        return Outcome(NEITHER, (bcc.failure,) if bcc.failure == ours.failure else (bcc.failure, ours.failure))
    if ours.failure:
        return Outcome(OURS_FAILS, (ours.failure,))
    found = tuple(_differences(bcc, ours))
    return Outcome(DIFFERS if found else SAME, found)


class Printed:
    """What a tool printed, in parts."""

    def __init__(self, tool: BccTool, run: Mapping[str, Any]) -> None:
        self.tool = tool
        self.code: int = run["code"]
        self.pid: int = run["pid"]
        self.text: str = _TERMINAL.sub("", _lay_out(run["stdout"]))
        self.errors: str = run["stderr"]
        self._raw: str = run["stdout"]
        self.failure = _failure(tool, Done(self._raw, self.errors, self.code), self.pid)
        self.lines = [self._mask(line) for line in self.text.splitlines() if line.strip()]

    def _mask(self, line: str) -> str:
        for mask, text in _MASKS:
            line = mask.sub(text, line)
        for pattern in _VARIES.get(self.tool.name, ()):
            for match in re.finditer(pattern, line):
                for start, end in map(match.span, range(match.re.groups, 0, -1)):
                    line = line[:start] + "~" * (end - start) + line[end:]
        return line

    @property
    def headings(self) -> list[str]:
        """The lines that say what follows, each once."""
        return list(dict.fromkeys(line for line in self.lines if _HEADING.search(line) and not self._is_row(line)))

    @property
    def rows(self) -> list[str]:
        """The lines about the workload."""
        return [line for line in self.lines if self._is_row(line)]

    @property
    def others(self) -> list[str]:
        """The rest, but for what is about the tracer."""
        found = (line for line in self.lines if not self._is_row(line) and not _HEADING.search(line))
        return [line for line in found if not _TRACER.search(line)]

    def _is_row(self, line: str) -> bool:
        return bool(re.search(rf"\b({self.pid}|{COMM}|5432[12])\b", line))

    def values(self, line: str) -> tuple[str, ...]:
        """Return the columns of a line with what varies masked."""
        line = re.sub(rf"(?<![\w.]){self.pid}\b", "PID", line)
        line = _CLIENT_PORT.sub("PORT", _ADDRESS.sub("ADDRESS", line))
        return tuple(_NUMBER.sub(_shorten_float, re.sub("~+", "~", line)).split())

    @property
    def wanted(self) -> list[str]:
        """The forms of what the patterns of the table match: they themselves say which values it must have."""
        found = []
        for pattern in self.tool.patterns:
            match = re.search(pattern.replace("{pid}", str(self.pid)), self._raw, re.MULTILINE)
            found.append(form(self._mask(_TERMINAL.sub(" ", match[0]))) if match else "")
        return found


def _lay_out(text: str) -> str:
    """Return what goes to a terminal in lines: another line begins one, another column is a space."""
    at = ""

    def move(match: re.Match[str]) -> str:
        nonlocal at
        before, at = at, match["line"] or ("1" if match["home"] else at)
        return " " if at == before else "\n"

    return _MOVE.sub(move, text)


def _shorten_float(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else f"F{len(match[1])}"


def form(line: str) -> str:
    """Return the kinds of a line's columns: ``N`` a number, ``F3`` one with three decimals, ``W`` a word."""
    line = re.sub(r"\|[*+ ]*\|", "|*|", line)
    kinds = []
    for word in line.split():
        match = _NUMBER.fullmatch(word)
        if match:
            kinds.append(f"F{len(match[1])}" if match[1] else "N")
        else:
            kinds.append("A" if _ADDRESS.fullmatch(word) else "W")
    return " ".join(kinds)


def _failure(tool: BccTool, done: Done, pid: int) -> str:
    """Return how a run failed, empty when it did not."""
    # 137: the bench killed it, for it did not end at Ctrl-C.
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["(no message)"]
    said = f"{done.stdout}\n{done.stderr}"
    if tool.lacks and (found := re.search(f".*(?:{tool.lacks}).*", said)):
        return found[0].strip()
    if errors := [line for line in lines if re.search(r"\berror: ", line)]:
        return errors[0].strip()
    raised = "Traceback (most recent call last)" in done.stderr and done.code != 137
    if raised and not lines[-1].startswith("KeyboardInterrupt"):
        return lines[-1].strip()
    if done.code not in (*tool.codes, 137):
        return f"exit {done.code}: {lines[-1].strip()}"
    if missing := missing_patterns(tool, done.stdout, pid):
        if tool.broken and (found := re.search(f".*(?:{tool.broken}).*", said, re.MULTILINE)):
            return found[0].strip()
        return f"does not print {missing[0]}"
    return ""


def _differences(bcc: Printed, ours: Printed) -> Iterator[str]:
    if 137 in (bcc.code, ours.code):
        if bcc.code != ours.code:
            yield f"{'BCC' if bcc.code == 137 else 'trapline'} does not end at Ctrl-C"
    elif bcc.code != ours.code:
        yield f"exit code {bcc.code} and {ours.code}"
    elif (theirs := _warnings(bcc.errors)) != (mine := _warnings(ours.errors)):
        yield f"stderr {_quote(theirs)} and {_quote(mine)}"
    if bcc.headings != ours.headings:
        left, right = _only(bcc.headings, ours.headings)
        yield f"headings {_quote(left)} and {_quote(right)}"
    left, right = ([run.values(row) for row in run.rows] for run in (bcc, ours))
    left, right = _only(*map(sorted, map(set, (left, right)))) if bcc.tool.name in _SAMPLED else _only(left, right)
    if left or right:
        yield f"rows {_quote(map(' '.join, left))} and {_quote(map(' '.join, right))}"
    elif shifted := [pair for pair in _pairs(bcc, ours) if not is_aligned(*pair)]:
        yield f"columns {_quote(shifted[0])}"
    if bcc.wanted != ours.wanted:
        left, right = _only(bcc.wanted, ours.wanted)
        yield f"values {_quote(left)} and {_quote(right)}"
    left, right = _only(sorted(set(map(form, bcc.others))), sorted(set(map(form, ours.others))))
    if left or right:
        yield f"forms {_quote(left)} and {_quote(right)}"


def _warnings(errors: str) -> list[str]:
    """Return what a run wrote to stderr, without what the compiler warns of BCC's headers, and where Ctrl-C was."""
    errors = re.sub(r"Traceback \(most recent call last\):\n( .*\n)+KeyboardInterrupt\b", "KeyboardInterrupt", errors)
    kept: list[str] = []
    warning = False
    for line in errors.splitlines():
        if re.search(r"\b(warning|note): |^In file included from ", line):
            warning = True
        elif re.fullmatch(r"\d+ warnings? generated\.", line):
            warning = False
        elif line.strip() and not warning:
            kept.append(re.sub(r"\d+", "N", line))
    return kept


def _only(left: list[Any], right: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what is only, or more often, in either."""
    here, there = Counter(left), Counter(right)
    return list((here - there).elements()), list((there - here).elements())


def _pairs(bcc: Printed, ours: Printed) -> Iterator[tuple[str, str]]:
    for row in bcc.rows:
        yield row, next(other for other in ours.rows if ours.values(other) == bcc.values(row))


def is_aligned(left: str, right: str) -> bool:
    """Whether each column begins or ends at the same place, or is as far from the one before it."""
    spans = [[match.span() for match in re.finditer(r"\S+", line)] for line in (left, right)]
    before = (0, 0)
    for (start, end), (other_start, other_end) in zip(*spans, strict=True):
        gaps = start - before[0], other_start - before[1]
        if start != other_start and end != other_end and gaps[0] != gaps[1]:
            return False
        before = end, other_end
    return True


def _quote(lines: Any) -> str:
    shown = [*lines]
    text = "; ".join(f"‘{line.strip()}’" for line in shown[:3]) or "none"
    return text + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
