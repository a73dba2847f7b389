"""What the running kernel can do, found out by trying; never by its version.

A probe answers yes, no, or does not know (``None``: the process lacks a privilege, memory was short).  Only yes and no
are remembered.  Names are plain words (``kprobe_multi``), ``helper:NAME`` for a BPF helper in a kprobe program,
``map:TYPE`` for a map type, ``iter:KIND`` for an iterator (``iter:task_file``), and ``kfunc:TYPE:NAME`` for a kernel
function that programs of type TYPE may call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trapline.hints import TYPE_CHECKING
from trapline.syscall.machine import has_btf, pmu_type

if TYPE_CHECKING:
    from trapline.btf import Btf

# What a look into sysfs tells.
_SEEN: dict[str, Callable[[], bool]] = {
    "btf": has_btf,
    "kprobes": lambda: pmu_type("kprobe") is not None,
    "uprobes": lambda: pmu_type("uprobe") is not None,
}


class FeatureProbes:
    """Answers what the kernel can do, each question asked at most once.

    Args:
        load_btf: returns the kernel's types; asked only by features that need them.
    """

    def __init__(self, load_btf: Callable[[], Btf]) -> None:
        self._load_btf = load_btf
        self._known: dict[str, bool] = {}

    def probe(self, name: str) -> bool | None:
        """Return whether the kernel has feature `name`; ``None`` when that cannot be found out.

        Raises:
            ValueError: no such feature name.
        """
        if name in self._known:
            return self._known[name]
        answer = self._ask(name)
        if answer is not None:
            self._known[name] = answer
        return answer

    def _ask(self, name: str) -> bool | None:
        if name in _SEEN:
            return _SEEN[name]()
        from trapline.kernel.feature_probes import ask  # with assembler, BTF and bpf(2)

        return ask(name, self._load_btf)

    def instruction_limit(self) -> int | None:
        """Return how many instructions a program may have; ``None`` when that cannot be found out."""
        from trapline.kernel.feature_probes import probe_instruction_limit

        return probe_instruction_limit()

    def all(self) -> Iterator[tuple[str, bool | None]]:
        """Yield every named feature and its answer, sorted by name."""
        for name in feature_names():
            yield name, self.probe(name)


def feature_names() -> list[str]:
    """Return the names of all features (helpers and map types can be asked for by ``helper:`` and ``map:`` too)."""
    from trapline.kernel import feature_probes

    return sorted({*_SEEN, *feature_probes.feature_names()})
