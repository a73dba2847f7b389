"""USDT probes of files and processes, with everything that attaching to them needs."""

from __future__ import annotations

from collections.abc import Iterable

from trapline.debuginfo.usdt import Operand, parse_operands
from trapline.hints import TYPE_CHECKING
from trapline.records import record

if TYPE_CHECKING:
    from trapline.ir.target import UserFiles

__all__ = ["Operand", "UserProbe", "UserProbePlace", "read_user_probes"]


@record(frozen=True)
class UserProbePlace:
    """A place of a probe.

    Args:
        offset, semaphore: in the file; the semaphore's is 0 without one.
        address, semaphore_address: the same as virtual addresses of the file.
        operands: its arguments.
    """

    offset: int
    semaphore: int
    address: int
    semaphore_address: int
    operands: tuple[Operand, ...]


@record(frozen=True)
class UserProbe:
    """A USDT probe of the file at `path`; it has at least one place."""

    path: str
    provider: str
    name: str
    places: tuple[UserProbePlace, ...]


def read_user_probes(files: UserFiles, paths: Iterable[str], arch: str) -> list[UserProbe]:
    """Return the USDT probes of some files, sorted by provider and name within each file.

    Args:
        files: opens them.
        paths: the files; those that are no ELF files have no probes.
        arch: ``x86_64`` or ``aarch64``.
    """
    found = []
    for path in paths:
        binary = files.open(path)
        if binary is None:
            continue
        for probe in binary.usdt_probes:
            places = tuple(
                UserProbePlace(
                    place.offset,
                    place.semaphore,
                    binary.address_of(place.offset) or 0,
                    (binary.address_of(place.semaphore) or 0) if place.semaphore else 0,
                    parse_operands(place.arguments, arch),
                )
                for place in probe.locations
            )
            found.append(UserProbe(path, probe.provider, probe.name, places))
    return found
