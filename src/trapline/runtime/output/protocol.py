"""The interface between the event loop and whoever shows what happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from trapline.hints import Any, NamedTuple, Protocol
from trapline.ir.spec import FaultSite, MapSpec
from trapline.ir.values import Value

Items = Sequence[tuple[Any, Any]]


class Location(NamedTuple):
    """A place in the program's text.

    Args:
        text: ``stdin:1:9-20``.
        filename: the source's name.
        line, column: 1-based, of the place's start.
        context: the source line and its underline, or empty.
        origins: the macro calls and imports that it comes from: text and context of each.
    """

    text: str
    filename: str
    line: int
    column: int
    context: str = ""
    origins: tuple[tuple[str, str], ...] = ()

    def expansions(self, word: str) -> str:
        """Return the lines that name the origins; `word` is ``ERROR`` or ``WARNING``."""
        return "".join(f"{text}: {word}: expanded from\n{context}\n" for text, context in self.origins)


class Framing(NamedTuple):
    """What an output writes around the text of a ``printf``, for those who write such texts themselves.

    Args:
        before, after: the text stands between them.
        json: the text is inside a JSON string.
        escape: gives the text as it is written; ``None`` when that depends on its neighbours.
    """

    before: bytes = b""
    after: bytes = b""
    json: bool = False
    escape: Callable[[bytes], bytes | None] = lambda text: text


class Output(Protocol):
    """Shows what a run produces, in the order of the calls.

    Strings of the traced system are bytes, and pass through as they are.
    """

    trailer: bytes
    """What is appended to strings that fill their field; set before anything is shown."""

    framing: Framing | None
    """How it writes the texts of ``printf``; ``None`` when it must be asked for each."""

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more (EPIPE): the run should end."""

    def framed(self, texts: bytes) -> None:
        """Write texts that have their `framing`."""

    def attached_probes(self, count: int) -> None:
        """Tell how many probes were attached."""

    def printf(self, text: bytes) -> None:
        """Write what the program formatted."""

    def message(self, text: bytes, *, error: bool, location: Location | None) -> None:
        """Write what ``errorf`` (`error`) or ``warnf`` formatted."""

    def value(self, layout: Value, item: Any) -> None:
        """Write ``print(x)`` of a value that is not a map."""

    def map(self, spec: MapSpec, items: Items) -> None:
        """Write a map: its decoded elements in the order to show; a scalar map's key is ``None``."""

    def time(self, text: bytes) -> None:
        """Write what ``time()`` formatted."""

    def join(self, text: bytes) -> None:
        """Write what ``join()`` joined."""

    def cat(self, text: bytes) -> None:
        """Write a file's contents for ``cat()``."""

    def system(self, text: bytes) -> None:
        """Write what the command of ``system()`` printed."""

    def lost_events(self, count: int) -> None:
        """Report records that did not fit into the ring since the last report."""

    def lost_total(self, counts: Mapping[str, int]) -> None:
        """Report at the end of the run how many records were lost, by the probe that made them."""

    def missed_hits(self, probe: str, count: int, cause: str) -> None:
        """Report that the kernel did not run a probe's program."""

    def fault(self, site: FaultSite, count: int, result: int, location: Location | None) -> None:
        """Report failures at run time.

        Args:
            site: where.
            count: how many since the last report.
            result: what the helper returned last.
            location: of `site` in the text.
        """

    def warning(self, text: str) -> None:
        """Report something about the run itself."""

    def error(self, text: str) -> None:
        """Report what went wrong without ending the run."""

    def end(self) -> None:
        """Mark the end of the events; the maps follow."""

    def flush(self) -> None:
        """Pass on what is buffered, as the buffering mode allows: the loop is about to wait."""

    def close(self) -> None:
        """Pass on everything."""


def fault_message(site: FaultSite, result: int) -> str:
    """Return bpftrace's words for a failure at run time."""
    if site.kind == "div_zero":
        return "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."
    if site.kind == "map_full" or (site.helper == "map_update_elem" and result == -7):
        return (
            "Map full; can't update element. Try increasing max_map_keys config or manually setting the max entries in "
            "a map declaration e.g. `let @a = hash(5000)`"
        )
    if site.helper == "map_delete_elem" and result == -2:
        return "Can't delete map element because it does not exist."
    if site.kind == "missing_key" or site.helper == "map_lookup_elem":
        return "Can't lookup map element because it does not exist."
    return os.strerror(abs(result))
