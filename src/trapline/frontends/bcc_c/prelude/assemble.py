"""Put the prelude of one script together: only what its text can refer to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trapline.abi.tracepoint import TracepointFormat
from trapline.btf import Btf
from trapline.btf import types as t
from trapline.btf.header import header_for_identifiers
from trapline.clang.kernel_names import MACROS, TYPEDEF_NAMES, TYPEDEFS
from trapline.frontends.bcc_c.prelude.maps import MAPS
from trapline.frontends.bcc_c.prelude.packets import packet_headers
from trapline.frontends.bcc_c.prelude.probes import CONTEXTS, PROBES, register_macros, register_struct
from trapline.frontends.bcc_c.prelude.prototypes import helper_prototypes
from trapline.frontends.bcc_c.prelude.tracepoints import tracepoint_struct
from trapline.frontends.bcc_c.scan import TextScan
from trapline.ir.target import Target
from trapline.records import record

_WORD = re.compile(r"[A-Za-z_]\w*")
_CONFIG = re.compile(r"^CONFIG_\w+$")

# What the prelude itself declares: never taken from BTF.
_OWN = frozenset({"key", "leaf", "lookup", "update", "delete", "increment", "data", "flags", "max_entries"})

# CONFIG options that a kernel's types betray: (struct or typedef, member).
_BETRAYED = {
    "CONFIG_NET_NS": ("possible_net_t", "net"),
    "CONFIG_NUMA": ("zone", "node"),
    "CONFIG_MEMCG": ("task_struct", "memcg_nr_pages_over_high"),
    "CONFIG_SLUB": ("kmem_cache", "cpu_slab"),
    "CONFIG_SMP": ("task_struct", "on_cpu"),
    "CONFIG_CGROUPS": ("task_struct", "cgroups"),
    "CONFIG_NAMESPACES": ("task_struct", "nsproxy"),
}


@record(frozen=True)
class Prelude:
    """The text before a script, and what was found out on the way.

    `unknown_configs` are the CONFIG options that the script tests and nobody knows.
    """

    text: str
    unknown_configs: tuple[str, ...]


def assemble_prelude(
    scan: TextScan, target: Target, clashes: frozenset[str] = frozenset(), types: Btf | None = None
) -> Prelude:
    """Return the prelude of a script.

    Args:
        scan: what the script's text has.
        target: the machine.
        clashes: more names that the script defines, as clang found out; the kernel's get another name.
        types: where types come from; the kernel proper if not given.

    Raises:
        NoSuchProbeError: it uses a tracepoint that the kernel does not have.
    """
    formats = {pair: target.tracepoint_format(*pair) for pair in scan.tracepoints}
    macros = _needed_macros(scan, target)
    declarations = _kernel_types(scan, target, macros, formats, clashes, types)
    configs, unknown = _configs(scan, target)
    parts = [
        TYPEDEFS,
        declarations,
        "#define true 1\n#define false 0\n",
        "\n".join(macros.values()) + "\n",
        _machine(target),
        configs,
        helper_prototypes(),
        MAPS,
        register_macros(target.arch),
        PROBES,
        packet_headers(scan),
    ]
    parts += [tracepoint_struct(*pair, format_) for pair, format_ in formats.items()]
    return Prelude("".join(parts), unknown)


def _needed_macros(scan: TextScan, target: Target) -> dict[str, str]:
    """Return the macros that the script uses, and those that they use."""
    needed: dict[str, str] = {"NULL": MACROS["NULL"]}
    pending = sorted(scan.identifiers)
    while pending:
        name = pending.pop()
        text = MACROS.get(name)
        if text is None or name in needed or name in scan.defined or name in scan.globals:
            continue
        if "(" not in text.split(None, 2)[1] and target.has_btf and target.btf.enum_constant(name) is not None:
            continue
        needed[name] = text
        pending += _WORD.findall(text)
    return needed


def _kernel_types(
    scan: TextScan,
    target: Target,
    macros: dict[str, str],
    formats: dict[tuple[str, str], TracepointFormat],
    clashes: frozenset[str],
    types: Btf | None,
) -> str:
    if not target.has_btf:
        return register_struct(target.arch)
    words: set[str] = set(scan.identifiers)
    for text in macros.values():
        words.update(_WORD.findall(text))
    for format_ in formats.values():
        for field in format_.fields:
            words.update(_WORD.findall(field.type))
    words.add("pt_regs")
    if "RAW_TRACEPOINT_PROBE" in words:
        words.add("bpf_raw_tracepoint_args")
    words -= _OWN - scan.identifiers
    words -= TYPEDEF_NAMES | {"NULL"}
    btf = types or target.btf
    btf.hash_names()  # every word of the text is looked up: without the table each costs a search of all types
    rename = {name: f"{name}___btf" for name in scan.defined | clashes}
    for name in scan.globals:
        if btf.find(name, t.Typedef) is not None or btf.enum_constant(name) is not None:
            rename[name] = f"{name}___btf"
    for name in (*TYPEDEF_NAMES, *_declared_names(MAPS)):
        rename.setdefault(name, name)
    missing = (text for tag, text in CONTEXTS.items() if tag in words - scan.defined and btf.struct(tag) is None)
    return header_for_identifiers(btf, words, rename) + "".join(missing)


def _declared_names(text: str) -> Iterable[str]:
    return re.findall(r"^struct (\w+) \{", text, re.MULTILINE)


def _machine(target: Target) -> str:
    machine = {"x86_64": "x86", "aarch64": "arm64"}.get(target.arch.name, target.arch.name)
    return (
        f"#define LINUX_VERSION_CODE {target.version_code}\n"
        "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))\n"
        f"#define PAGE_SIZE {target.page_size}UL\n"
        f"#define PAGE_SHIFT {target.page_size.bit_length() - 1}\n"
        f"#define PAGE_MASK (~(PAGE_SIZE - 1))\n"
        f"#define __TARGET_ARCH_{machine} 1\n"
        f"#define TRAPLINE_CPUS {target.possible_cpus}\n"
    )


def _configs(scan: TextScan, target: Target) -> tuple[str, tuple[str, ...]]:
    lines: list[str] = []
    unknown: list[str] = []
    for name in sorted(n for n in scan.identifiers if _CONFIG.match(n)):
        if name in scan.defined:
            continue
        value = _config(name, target)
        if value is None:
            unknown.append(name)
        elif value:
            lines.append(f"#define {name} {1 if value in ('y', 'm') else value}")
    return "".join(f"{line}\n" for line in lines), tuple(unknown)


def _config(name: str, target: Target) -> str | None:
    if name == "CONFIG_ARCH_HAS_SYSCALL_WRAPPER":
        return "y" if target.syscall_prefix().startswith("__") else ""
    if name in ("CONFIG_64BIT", "CONFIG_MMU", "CONFIG_BPF", "CONFIG_BPF_SYSCALL"):
        return "y"
    if name in ("CONFIG_X86_64", "CONFIG_X86"):
        return "y" if target.arch.name == "x86_64" else ""
    if name == "CONFIG_ARM64":
        return "y" if target.arch.name == "aarch64" else ""
    known = target.kernel_config(name)
    if known is not None or name not in _BETRAYED or not target.has_btf:
        return known
    record, member = _BETRAYED[name]
    type_id = target.btf.find(record, t.Struct, t.Typedef)
    if type_id is None:
        return ""
    return "y" if target.btf.field(target.btf.resolve(type_id), member) is not None else ""
