"""The case files: text blocks that say what one run of the command line prints.

    NAME a map with two keys
    PROG BEGIN { @[1, "a"] = 2; exit(); }
    EXPECT
    |@[1, a]: 2

A line starts with a word of `KEYS`; its value is the rest of the line, or the lines behind it that start with ``|``
(which is not part of them). An empty line ends a case, ``#`` starts a comment. README.md says what each word means.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parent / "cases"
# Words that may come several times are kept as lists.
KEYS = ("NAME", "PROG", "FILE", "RUN", "ARGS", "COMMAND", "ENV", "EXPECT", "EXPECT_FILE", "EXIT", "LIMIT", "PROCESS")
LISTS = ("EXPECT_REGEX", "STDERR_REGEX", "NOT_REGEX", "NEEDS", "ROWS", "OTHER")


_ADDRESS = re.compile(r"\{address:(\w+)\}")


class CaseError(Exception):
    """A case file makes no sense."""


@dataclass
class Case:
    """One run.

    Args:
        where: file and line, for messages.
        values: what was said, by key.
        lists: the same for keys that may come several times.
    """

    where: str
    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the test is called."""
        return re.sub(r"[^A-Za-z0-9_.+-]+", "-", self.values["NAME"]).strip("-")

    @property
    def needs(self) -> tuple[str, ...]:
        """The features of tests/harness/features.py that it needs."""
        return tuple(word for line in self.lists.get("NEEDS", ()) for word in line.split())

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of rows.txt that it shows."""
        return tuple(word for line in self.lists.get("ROWS", ()) for word in line.split())

    @property
    def exit_code(self) -> int:
        """What the command line returns."""
        return int(self.values.get("EXIT", "0"))

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables to set."""
        return dict(word.split("=", 1) for word in shlex.split(self.values.get("ENV", "")))

    def arguments(self, folder: Path) -> list[str]:
        """Return the command line without the program's name; writes ``FILE`` and ``OTHER`` files into `folder`."""
        places = {
            "{pid}": str(os.getpid()),
            "{dir}": str(folder),
            "{traced}": str(_TRACED),
            "{file}": str(folder / "script.bt"),
            "{out}": str(folder / "out"),
        }
        if "FILE" in self.values:
            (folder / "script.bt").write_text(self.values["FILE"] + "\n")
        for other in self.lists.get("OTHER", ()):
            name, _, text = other.partition("\n")
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text + "\n")
        if "RUN" in self.values:
            words = shlex.split(self.values["RUN"])
        else:
            words = ["-e", self.values["PROG"]]
            if "COMMAND" in self.values:
                words += ["-c", self.values["COMMAND"]]
            words += shlex.split(self.values.get("ARGS", ""))
        for place, text in places.items():
            words = [word.replace(place, text) for word in words]
        words = [_ADDRESS.sub(lambda match: find_address(match[1]), word) for word in words]
        return [self.values["PROG"] if word == "{prog}" else word for word in words]


_TRACED = Path(__file__).resolve().parents[1] / "programs" / "user" / "traced"


def find_address(name: str) -> str:
    """Return the address of a kernel symbol as a hexadecimal literal.

    Raises:
        CaseError: the kernel does not list it.
    """
    for line in Path("/proc/kallsyms").read_text().splitlines():
        words = line.split()
        if words[2] == name:
            return f"0x{words[0]}"
    raise CaseError(f"/proc/kallsyms has no {name}")


def read_cases(path: Path) -> Iterator[Case]:
    """Yield the cases of a file.

    Raises:
        CaseError: an unknown word, a case without a name or a program, a text without its word.
    """
    case: Case | None = None
    key, lines = "", []

    def store() -> None:
        nonlocal key
        if case is None or not key:
            return
        value = "\n".join(lines)
        if key in LISTS:
            case.lists.setdefault(key, []).append(value)
        elif key in case.values:
            raise CaseError(f"{case.where}: {key} comes twice")
        else:
            case.values[key] = value
        key = ""

    for number, line in enumerate([*path.read_text().split("\n"), ""], 1):
        if line.startswith("|"):
            if not key:
                raise CaseError(f"{path.name}:{number}: a text without its word")
            lines.append(line[1:])
            continue
        if line.startswith("#"):
            continue
        store()
        if not line:
            if case is not None:
                yield _checked(case)
            case = None
            continue
        key, _, rest = line.partition(" ")
        if key not in KEYS + LISTS:
            raise CaseError(f"{path.name}:{number}: no word {key!r}")
        if case is None:
            case = Case(f"{path.name}:{number}")
        lines = [rest] if rest else []


def _checked(case: Case) -> Case:
    if "NAME" not in case.values or not {"PROG", "RUN"} & case.values.keys():
        raise CaseError(f"{case.where}: a case needs NAME, and PROG or RUN")
    says = {"EXPECT", "EXPECT_FILE"} & case.values.keys() or {"EXPECT_REGEX", "STDERR_REGEX"} & case.lists.keys()
    if not says:
        raise CaseError(f"{case.where}: a case must expect something")
    return case


def read_all_cases(folder: Path = CASES) -> list[Case]:
    """Return the cases of all files of a folder, in order.

    Raises:
        CaseError: a file makes no sense, or two cases have one name.
    """
    found = [case for path in sorted(folder.glob("*.txt")) for case in read_cases(path)]
    names: dict[str, Case] = {}
    for case in found:
        if other := names.get(case.name):
            raise CaseError(f"{case.where}: the name of {other.where}")
        names[case.name] = case
    return found
