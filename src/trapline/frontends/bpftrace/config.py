"""Settings of a run: defaults, the program's config block, the environment; and what the compiler is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trapline.errors import SemanticError
from trapline.frontends.bpftrace.suggestions import nearest
from trapline.hints import TYPE_CHECKING
from trapline.records import field, record
from trapline.source import Diagnostics

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
_DEPRECATED = frozenset(
    {
        "max_type_res_iterations",
        "symbol_source",
        "unstable_addr",
        "unstable_import",
        "unstable_macro",
        "unstable_map_decl",
    }
)
_UNSTABLE = tuple(name for name in DEFAULTS if name.startswith("unstable_"))
# What a setting may be, and other spellings of it.
_CHOICES: dict[str, tuple[str, ...]] = {
    "cache_user_symbols": ("PER_PID", "PER_PROGRAM", "NONE"),
    "license": (
        "Dual MIT/GPL",
        "Dual BSD/GPL",
        "Dual MPL/GPL",
        "GPL and additional rights",
        "GPL v2",
        "GPL",
    ),
    "missing_probes": ("ignore", "warn", "error"),
    "stack_mode": ("bpftrace", "raw", "perf", "build_id"),
    **dict.fromkeys(_UNSTABLE, ("enable", "warn", "error")),
}
_SYNONYMS: dict[str, dict[str, str]] = {
    "cache_user_symbols": {"0": "NONE", "1": "PER_PID"},
    **{name: {"0": "error", "false": "error", "1": "enable", "true": "enable"} for name in _UNSTABLE},
}
_LICENSES = "https://docs.kernel.org/bpf/bpf_licensing.html#using-bpf-programs-in-the-linux-kernel"
_AUTOMATIC_RING_BYTES = 16 << 20
_LEAST_RING_BYTES = 256 << 10


@record(frozen=True)
class CompileOptions:
    """What the user asked for besides the program.

    Args:
        positional: the script's arguments, ``$1`` first.
        named: the script's options by name, as `split_arguments` gives them.
        pid: trace only this process (tgid), 0 for all.
        settings: configuration that overrides the program's own, by name (see `settings_from_environment`).
        typed_events: records carry the long header.
        unsafe: allow what can harm the system.
        warnings: 1 reports failed map look-ups, 2 also more (``-k``).
        child_pid: the pid of the command that the tracer started (``cpid``), 0 for none; user probes
            are limited to it.
        include_dirs: folders to search for included C headers.
        includes: C headers that are included before the program.
        mode: ``test`` or ``bench``: run the blocks of that kind; they are left out otherwise.
        start_nsecs: CLOCK_BOOTTIME at the start in nanoseconds, for ``elapsed``; 0 measures from the first use.
    """

    positional: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)
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


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the positional arguments of a script, and its options by name.

    An option's value keeps its ``=``, which tells ``--name`` (empty) from ``--name=``.
    """
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            named[name] = equals + value
        else:
            positional.append(argument)
    return tuple(positional), named


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
        name, value = entry.key.lower().removeprefix("bpftrace_"), entry.value
        if name in _RENAMED:
            diagnostics.warning(f"{name} has been renamed, please use {_RENAMED[name]}", entry.span)
            if name.startswith("no_"):  # it said the opposite
                flag = _convert(_RENAMED[name], value)
                value = value if flag is None else not flag
            name = _RENAMED[name]
        if name in _DEPRECATED:
            diagnostics.warning(f"{name} is deprecated and has no effect", entry.span)
        elif name not in DEFAULTS:
            near = nearest(name, DEFAULTS)
            hints = [f"Did you mean {near}?"] if near else []
            diagnostics.error(f"{entry.key}: not a known configuration option", entry.span, *hints)
        else:
            _set(values, name, value, diagnostics, entry)
    values.update(options.settings)
    return Config(values)


def _set(
    values: dict[str, Setting],
    name: str,
    value: Setting,
    diagnostics: Diagnostics,
    entry: ast.ConfigEntry | None,
    shown: str = "",
) -> None:
    converted = _convert(name, value)
    if converted is None:
        diagnostics.error(_complaint(name, value, shown or name), entry.span if entry else None)
    else:
        values[name] = converted


def _complaint(name: str, value: Setting, shown: str) -> str:
    """Say what is wrong with the value of a setting."""
    if name == "license":
        known = ", ".join(_CHOICES[name])
        return (
            f"Invalid value for license. Found: {value}. Valid values: {known}. Read more about BPF programs and"
            f" licensing: {_LICENSES}"
        )
    if name in _CHOICES:
        *some, last = _CHOICES[name]
        what = "unstable config" if name in _UNSTABLE else name
        return f"{shown}: Invalid value for {what}: valid values are {', '.join(some)}, and {last}."
    if isinstance(DEFAULTS[name], bool):
        return f"{shown}: Invalid bool value: valid values are true, false, 1 or 0."
    return f"{shown}: expecting a number, got {value}"


def _convert(name: str, value: Setting) -> Setting | None:
    """Return a value as its setting wants it, or ``None`` when it cannot be that."""
    default = DEFAULTS[name]
    if isinstance(default, bool):
        if isinstance(value, int):
            return value != 0
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if isinstance(default, int):
        if isinstance(value, int):
            return int(value)
        return int(value, 10) if value.isascii() and value.isdigit() and len(value) < 19 else None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    choices = _CHOICES.get(name)
    if choices is None or text in choices:
        return text
    lowered = {**_SYNONYMS.get(name, {}), **{choice.lower(): choice for choice in choices}}
    return lowered.get(text.lower())
