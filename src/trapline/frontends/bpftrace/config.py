"""Settings of a run: defaults, the program's config block, the environment; and what the compiler is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from trapline.errors import SemanticError
from trapline.records import field, record
from trapline.source import Diagnostic, Diagnostics

if TYPE_CHECKING:
    from trapline.frontends.bpftrace import ast

Setting = int | str | bool

DEFAULTS: dict[str, Setting] = {
    "cache_user_symbols": "PER_PID",
    "cpp_demangle": True,
    "lazy_symbolication": False,
    "license": "GPL",
    "log_size": 1_000_000,
    "max_bpf_progs": 1024,
    "max_cat_bytes": 10240,
    "max_map_keys": 4096,
    "max_probes": 1024,
    "max_strlen": 1024,
    "missing_probes": "error",
    "on_stack_limit": 32,
    "perf_rb_pages": 0,
    "print_maps_on_exit": True,
    "show_debug_info": True,
    "stack_mode": "bpftrace",
    "str_trunc_trailer": "..",
    "use_blazesym": True,
    "unstable_tseries": "warn",
    "unstable_dw_ustack": "warn",
    "unstable_typeinfo": "error",
    "unstable_import_statement": "error",
}
_RENAMED = {
    "strlen": "max_strlen",
    "no_cpp_demangle": "cpp_demangle",
    "cat_bytes_max": "max_cat_bytes",
    "map_keys_max": "max_map_keys",
}
_DEPRECATED = frozenset({"unstable_macro", "unstable_map_decl", "unstable_import", "unstable_addr"})
_CHOICES: dict[str, tuple[str, ...]] = {
    "cache_user_symbols": ("PER_PID", "PER_PROGRAM", "NONE", "0", "1"),
    "missing_probes": ("error", "warn", "ignore"),
    "stack_mode": ("bpftrace", "perf", "raw", "build_id"),
    "license": (
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    ),
    **{name: ("error", "warn", "enable") for name in DEFAULTS if name.startswith("unstable_")},
}
_AUTOMATIC_RING_BYTES = 16 << 20
_LEAST_RING_BYTES = 256 << 10


@record(frozen=True)
class CompileOptions:
    """What the user asked for besides the program.

    Args:
        positional: the script's arguments, ``$1`` first.
        pid: trace only this process (tgid), 0 for all.
        settings: configuration that overrides the program's own, by name (see `settings_from_environment`).
        typed_events: records carry the long header.
        unsafe: allow what can harm the system.
        warnings: 1 reports failed map look-ups, 2 also more (``-k``).
        child_pid: the pid of the command that the tracer started (``cpid``), 0 for none.
        include_dirs: folders to search for included C headers.
        includes: C headers that are included before the program.
        mode: ``test`` or ``bench``: run the blocks of that kind; they are left out otherwise.
        start_nsecs: CLOCK_BOOTTIME at the start in nanoseconds, for ``elapsed``; 0 measures from the first use.
    """

    positional: tuple[str, ...] = ()
    pid: int = 0
    settings: Mapping[str, Setting] = field(default_factory=dict)
    typed_events: bool = False
    unsafe: bool = False
    warnings: int = 0
    child_pid: int = 0
    mode: str = ""
    start_nsecs: int = 0
    include_dirs: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


@record(frozen=True)
class Config:
    """The settings in force."""

    values: Mapping[str, Setting]

    def integer(self, name: str) -> int:
        """Return an integer setting."""
        return int(self.values[name])

    def text(self, name: str) -> str:
        """Return a textual setting."""
        return str(self.values[name])

    def flag(self, name: str) -> bool:
        """Return a boolean setting."""
        return bool(self.values[name])

    def ring_bytes(self, page_size: int) -> int:
        """Return the size of the ring buffer in bytes: a power of two."""
        pages = self.integer("perf_rb_pages")
        wanted = pages * page_size if pages else _AUTOMATIC_RING_BYTES
        size = _LEAST_RING_BYTES if not pages else page_size
        while size < wanted:
            size *= 2
        return size

    def items(self) -> tuple[tuple[str, Setting], ...]:
        """Return the settings in the order of their names."""
        return tuple(sorted(self.values.items()))


def settings_from_environment(environment: Mapping[str, str]) -> dict[str, Setting]:
    """Return the settings that ``BPFTRACE_…`` variables make.

    Raises:
        SemanticError: a variable has a value that its setting cannot take.
    """
    diagnostics = Diagnostics()
    settings: dict[str, Setting] = {}
    for name in DEFAULTS:
        variable = "BPFTRACE_" + name.upper()
        if variable in environment:
            _set(settings, name, environment[variable], diagnostics, None, variable)
    if diagnostics.errors:
        raise SemanticError(diagnostics.errors)
    return settings


def resolve_config(entries: Iterable[ast.ConfigEntry], options: CompileOptions, diagnostics: Diagnostics) -> Config:
    """Combine defaults, the config block, and what the user overrides."""
    values: dict[str, Setting] = dict(DEFAULTS)
    for entry in entries:
        if entry.key in _RENAMED:
            diagnostics.error(f"{entry.key} was renamed to {_RENAMED[entry.key]}", entry.span)
        elif entry.key in _DEPRECATED:
            diagnostics.warning(f"{entry.key} is no longer needed: the feature is stable", entry.span)
        elif entry.key not in DEFAULTS:
            from difflib import get_close_matches

            near = get_close_matches(entry.key, DEFAULTS, 1)
            hints = [f"Did you mean {near[0]}?"] if near else []
            diagnostics.error(f"{entry.key}: not a known configuration option", entry.span, *hints)
        else:
            _set(values, entry.key, entry.value, diagnostics, entry, entry.key)
    values.update(options.settings)
    return Config(values)


def _set(
    values: dict[str, Setting],
    name: str,
    value: Setting,
    diagnostics: Diagnostics,
    entry: ast.ConfigEntry | None,
    shown: str,
) -> None:
    converted = _convert(name, value)
    if converted is None:
        kind = "one of " + ", ".join(_CHOICES[name]) if name in _CHOICES else type(DEFAULTS[name]).__name__
        finding = Diagnostic(f"Invalid value for {shown}: {value!r}, expected {kind}", entry.span if entry else None)
        diagnostics.extend([finding])
        return
    values[name] = converted


def _convert(name: str, value: Setting) -> Setting | None:
    default = DEFAULTS[name]
    if isinstance(default, bool):
        words: dict[str, bool] = {"true": True, "1": True, "false": False, "0": False}
        return words.get(str(value).lower())
    if isinstance(default, int):
        text = str(value)
        return int(text, 10) if text.isascii() and text.isdigit() and len(text) < 19 else None
    text = str(value)
    choices = _CHOICES.get(name)
    if choices is None or text in choices:
        return text
    lowered = {c.lower(): c for c in choices}
    return lowered.get(text.lower())
