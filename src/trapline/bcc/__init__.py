"""BCC's Python API on trapline: ``from trapline.bcc import BPF``, or `install` and then ``from bcc import BPF``."""

from __future__ import annotations

from trapline.bcc.attach import ProbeQuota
from trapline.bcc.bpf import BPF
from trapline.bcc.constants import (
    DEBUG_BPF,
    DEBUG_BPF_REGISTER_STATE,
    DEBUG_BTF,
    DEBUG_LLVM_IR,
    DEBUG_PREPROCESSOR,
    DEBUG_SOURCE,
    DEBUGFS,
    TRACEFS,
    BPFAttachType,
    BPFProgType,
    PerfEventSampleFormat,
    PerfHWConfig,
    PerfSWConfig,
    PerfType,
    XDPAction,
    XDPFlags,
)
from trapline.bcc.importer import install
from trapline.bcc.libbcc import bcc_symbol, bcc_symbol_option, lib
from trapline.bcc.perf_events import Perf
from trapline.bcc.strcmp import StrcmpRewrite
from trapline.bcc.symbols import SymbolCache
from trapline.bcc.table import PerfEventArray, RingBuf, Table
from trapline.bcc.utils import ArgString, get_online_cpus, printb
from trapline.bcc.version import __version__
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.usdt import USDT, USDTException

__all__ = [
    "BPF",
    "DEBUGFS",
    "DEBUG_BPF",
    "DEBUG_BPF_REGISTER_STATE",
    "DEBUG_BTF",
    "DEBUG_LLVM_IR",
    "DEBUG_PREPROCESSOR",
    "DEBUG_SOURCE",
    "TRACEFS",
    "USDT",
    "ArgString",
    "BPFAttachType",
    "BPFProgType",
    "Perf",
    "PerfEventArray",
    "PerfEventSampleFormat",
    "PerfHWConfig",
    "PerfSWConfig",
    "PerfType",
    "RingBuf",
    "StrcmpRewrite",
    "SymbolCache",
    "Table",
    "USDTException",
    "XDPAction",
    "XDPFlags",
    "__version__",
    "bcc_symbol",
    "bcc_symbol_option",
    "get_online_cpus",
    "install",
    "lib",
    "printb",
]


def __getattr__(name: str) -> Any:
    """Import `USDT` when a script uses it: few do."""
    if name not in ("USDT", "USDTException"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trapline.bcc import usdt

    value = globals()[name] = getattr(usdt, name)
    return value


def _get_num_open_probes() -> int:
    """Return how many probes all `BPF` objects of the process have open."""
    return ProbeQuota.open_probes
