"""Tables that one C text publishes and later ones of the process use (``BPF_TABLE_PUBLIC``, ``extern``)."""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trapline.engine.dynamic import DynamicMap
    from trapline.frontends.bcc_c.result import TableInfo


class PublishedTables:
    """The published tables of this process: description and map, by name."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[TableInfo, DynamicMap]] = {}

    def infos(self) -> dict[str, TableInfo]:
        """Return the descriptions, for the compiler."""
        return {name: info for name, (info, _) in self._tables.items()}

    def handle(self, name: str) -> DynamicMap:
        """Return a published map.

        Raises:
            KeyError: there is none.
        """
        return self._tables[name][1]

    def publish(self, info: TableInfo, handle: DynamicMap) -> None:
        """Publish a map under its name; a later one of that name replaces it."""
        self._tables[info.name] = (info, handle)

    def withdraw(self, handles: Iterable[DynamicMap]) -> None:
        """Take back maps that are being closed."""
        gone = {id(handle) for handle in handles}
        self._tables = {name: entry for name, entry in self._tables.items() if id(entry[1]) not in gone}


PUBLISHED = PublishedTables()
