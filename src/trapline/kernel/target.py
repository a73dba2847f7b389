"""`LiveTarget`: the running kernel as a machine to compile for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from trapline.digest import digest
from trapline.errors import DecodeError, FeatureMissingError, NoSuchProbeError
from trapline.hints import TYPE_CHECKING
from trapline.syscall import machine, privilege
from trapline.syscall.tracefs import read_dynamic_events, read_event_format

if TYPE_CHECKING:
    from trapline.abi.arch import Arch
    from trapline.abi.tracepoint import TracepointFormat
    from trapline.btf import Btf
    from trapline.kernel.features import FeatureProbes
    from trapline.kernel.probes import ProbeCatalogue
    from trapline.kernel.user_files import UserFiles
    from trapline.syscall.kallsyms import SymbolTable

# What a former process found out may be read and kept by name.
Loader = Callable[[str], "bytes | None"]
Saver = Callable[[str, bytes], None]


class LiveTarget:
    """The running kernel; implements `trapline.ir.target.Target`.

    Everything is read when it is first asked for, and then kept: one object sees one state of the machine.

    Args:
        load: returns what `save` got under the same key, or ``None``.
        save: keeps what took long to find out for later processes: the index of BTF, the traceable functions.

    Attributes:
        without: features that are not used although the kernel may have them.
        traceable_file: a file to read the traceable functions from, instead of the kernel's list.
        volatile_answers: how often it was asked for something that `identity` does not cover.
    """

    without: frozenset[str] = frozenset()
    traceable_file: str = ""
    volatile_answers: int = 0

    def __init__(self, *, load: Loader | None = None, save: Saver | None = None) -> None:
        self._load = load
        self._save = save
        self._unsaved: tuple[str, Btf] | None = None
        self._module_btf: dict[str, Btf | None] = {}
        self._members: dict[tuple[str, tuple[str, ...]], Mapping[str, int]] = {}
        self._formats: dict[tuple[str, str], TracepointFormat] = {}

    @cached_property
    def features(self) -> FeatureProbes:
        """What the kernel can do."""
        from trapline.kernel.features import FeatureProbes  # imported when needed: a cached program starts faster

        return FeatureProbes(lambda: self.btf)

    # ---- the machine

    @cached_property
    def arch(self) -> Arch:
        """Registers and calling conventions."""
        from trapline.syscall.libc import host_arch

        return host_arch()

    @cached_property
    def release(self) -> str:
        """The kernel's release, as ``uname -r`` prints it."""
        return machine.kernel_release()

    @cached_property
    def version_code(self) -> int:
        """``LINUX_VERSION_CODE``."""
        return machine.version_code()

    @cached_property
    def identity(self) -> str:
        """A digest of what a compiled program may depend on: kernel build, boot, modules, events, privileges."""
        names = os.uname()
        modules = sorted((m.name, m.size, m.address, m.instance) for m in machine.loaded_modules())
        parts = (
            names.machine,
            names.release,
            names.version,
            machine.boot_id(),
            modules,
            read_dynamic_events(),
            len(machine.possible_cpus()),
            self.page_size,
            self.pid_namespace,
            privilege.effective_capabilities(),
            privilege.lockdown_mode(),
            sorted(self.without),
            self.traceable_file,
        )
        return digest(repr(parts).encode()).hex()[:32]

    @cached_property
    def possible_cpus(self) -> int:
        """Number of possible CPUs."""
        return len(machine.possible_cpus())

    @cached_property
    def online_cpus(self) -> tuple[int, ...]:
        """The CPUs that run."""
        return machine.online_cpus()

    @cached_property
    def page_size(self) -> int:
        """Bytes of a page."""
        return machine.page_size()

    @cached_property
    def pid_namespace(self) -> tuple[int, int] | None:
        """(device, inode) of the tracer's pid namespace when it is not the initial one."""
        return machine.pid_namespace()

    def kernel_config(self, option: str) -> str | None:
        """Return the value of ``CONFIG_…``; ``""`` when it is not set, ``None`` when that is not known."""
        config = machine.kernel_config()
        return None if config is None else config.get(option, "")

    def has(self, feature: str) -> bool:
        """Return whether the kernel certainly has a feature of `trapline.kernel.features`."""
        return feature not in self.without and self.features.probe(feature) is True

    # ---- types

    @property
    def has_btf(self) -> bool:
        """Whether the kernel describes its types."""
        return machine.has_btf()

    @cached_property
    def btf(self) -> Btf:
        """The kernel's types.

        Raises:
            FeatureMissingError: it has none.
        """
        data = machine.read_btf()
        if data is None:
            raise FeatureMissingError(
                "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing)",
                hint="boot a kernel with CONFIG_DEBUG_INFO_BTF=y; without it types and argument names are unknown",
            )
        return self._indexed(data, "vmlinux", None)

    def struct_members(self, tag: str, members: tuple[str, ...]) -> Mapping[str, int]:
        """Return the byte offsets of direct members of a kernel struct, cheaper than by `btf`; empty if one lacks."""
        found = self._members.get((tag, members))
        if found is None:
            found = self._members[tag, members] = self._find_members(tag, members)
        return found

    def _find_members(self, tag: str, members: tuple[str, ...]) -> Mapping[str, int]:
        if not self.has_btf:
            return {}
        if "btf" in self.__dict__:
            from trapline.btf import Struct

            struct = self.btf.find(tag, Struct)
            found = [] if struct is None else [self.btf.field(struct, name) for name in members]
            fields = [field for field in found if field is not None]
            return {field.name: field.offset for field in fields} if len(fields) == len(members) else {}
        from trapline.btf.peek import peek_members

        data = machine.read_btf()
        return {} if data is None else peek_members(data, tag, members)

    def module_btf(self, module: str) -> Btf | None:
        """Return a module's types (with the kernel's below them), or ``None`` when it has none."""
        if module in ("", "vmlinux"):
            return self.btf if self.has_btf else None
        if module not in self._module_btf:
            data = machine.read_btf(module) if self.has_btf else None
            from trapline.btf import Btf

            self._module_btf[module] = None if data is None else Btf(data, base=self.btf, name=module)
        return self._module_btf[module]

    def btf_modules(self) -> Sequence[str]:
        """Return the names of the loaded modules that have BTF, sorted."""
        return machine.btf_modules()

    def _indexed(self, data: bytes, name: str, base: Btf | None) -> Btf:
        from trapline.btf import Btf

        # The notes hold the build id of the kernel, types included.
        build = f"{os.uname().version} {machine.kernel_notes().hex()} {len(data)}".encode()
        key = digest(build, data[:64], data[-4096:]).hex()[:32]
        index = self._load(f"btf-index {key}") if self._load else None
        if index is not None:
            with contextlib.suppress(DecodeError):  # of other types, or in the form of another version of ours
                return Btf(data, base=base, name=name, index=index)
        from trapline.kernel.type_scan import TypeScanner

        btf = Btf(data, base=base, name=name, scanner=TypeScanner())
        if self._save:
            self._unsaved = (key, btf)
        return btf

    def keep(self) -> None:
        """Keep what was read for later processes, unless it is kept already: the index of types, the functions.

        It takes some milliseconds: to be called when nobody waits.
        """
        if self._save is None:
            return
        if self._unsaved is not None:
            key, btf = self._unsaved
            self._unsaved = None
            self._save(f"btf-index {key}", btf.index_bytes())
        if "probes" in self.__dict__:
            self.probes.keep()

    def release_types(self) -> None:
        """Let go of the types in memory, some 8 MB; they are read again when somebody asks."""
        self.__dict__.pop("btf", None)
        self._module_btf.clear()
        self._unsaved = None

    # ---- symbols and probes

    @cached_property
    def symbols(self) -> SymbolTable:
        """The kernel's symbols."""
        from trapline.syscall.kallsyms import read_kallsyms

        return read_kallsyms()

    @cached_property
    def probes(self) -> ProbeCatalogue:
        """What can be probed."""
        from trapline.kernel.probes import ProbeCatalogue

        return ProbeCatalogue(lambda: self.symbols, self.traceable_file, load=self._load, save=self._save)

    @cached_property
    def user_files(self) -> UserFiles:
        """The files of user programs."""
        from trapline.kernel.user_files import UserFiles

        return UserFiles()

    def symbol_address(self, name: str) -> int | None:
        """Return the address of a kernel symbol, or ``None`` when there is none (or addresses are hidden)."""
        return self.symbols.address(name)

    def functions(self, pattern: str, module: str = "") -> Sequence[str]:
        """Return the traceable functions whose names match a glob, sorted, without duplicates."""
        return sorted({name for _, name in self.probes.match_functions(pattern, module)})

    def function_modules(self, pattern: str, module: str) -> Sequence[tuple[str, str]]:
        """Return (module, function) for all traceable functions that match two globs."""
        return self.probes.match_functions(pattern, module)

    def tracepoints(self, category: str, name: str) -> Sequence[tuple[str, str]]:
        """Return the (category, name) that match two globs, sorted."""
        return self.probes.match_tracepoints(category, name)

    def raw_tracepoints(self, module: str, name: str) -> Sequence[tuple[str, str]]:
        """Return the (module, name) of raw tracepoints that match two globs; an empty module is the first that has it.

        They are those whose prototype the types describe (``btf_trace_NAME``).
        """
        from trapline.btf import Typedef
        from trapline.kernel.patterns import compile_pattern, is_pattern

        prefix = "btf_trace_"
        matches, matches_module = compile_pattern(name).match, compile_pattern(module or "*").match
        found: list[tuple[str, str]] = []
        if not self.has_btf:
            return found
        for owner in ("vmlinux", *machine.btf_modules()):
            btf = self.module_btf(owner) if matches_module(owner) else None
            if btf is None:
                continue
            if is_pattern(name):
                names = {text[len(prefix) :] for text in map(btf.name_of, btf.ids(Typedef)) if text.startswith(prefix)}
                found += [(owner, event) for event in sorted(names) if matches(event)]
            elif any(number >= btf.first_id for number in btf.find_all(prefix + name, Typedef)):
                found.append((owner, name))
                if not module:
                    break
        return found

    def bpf_functions(self, program: str, name: str) -> Sequence[tuple[int, str]]:
        """Return the (program id, function) of loaded BPF programs that match: `program` is an id or ``*``."""
        from trapline.kernel.bpf_functions import list_bpf_functions
        from trapline.kernel.patterns import compile_pattern

        self.volatile_answers += 1  # they come and go
        wanted, matches = compile_pattern(program).match, compile_pattern(name).match
        return sorted(row for row in list_bpf_functions() if wanted(str(row[0])) and matches(row[1]))

    def tracepoint_format(self, category: str, name: str) -> TracepointFormat:
        """Return a tracepoint's fields.

        Raises:
            NoSuchProbeError: there is no such tracepoint; similar ones are named.
        """
        key = category, name
        if key not in self._formats:
            try:
                self._formats[key] = read_event_format(category, name)
            except NoSuchProbeError as error:
                near = self.near_probes("tracepoint", f"{category}:{name}")
                hint = f"did you mean {', '.join(near)}?" if near else None
                raise NoSuchProbeError(error.message, near=near, hint=hint) from None
        return self._formats[key]

    def near_probes(self, kind: str, name: str) -> Sequence[str]:
        """Return existing names similar to `name`, best first."""
        return self.probes.near(kind, name)

    def cgroup_id(self, path: str) -> int:
        """Return the id of the cgroup (v2) at a path.

        Raises:
            TargetError: there is none.
        """
        self.volatile_answers += 1
        return machine.cgroup_id(path)

    @cached_property
    def _syscall_prefix(self) -> str:
        for prefix in (f"{self.arch.syscall_prefix}sys_", "sys_", "SyS_"):
            if self.symbols.find(prefix + "getpid"):
                return prefix
        return f"{self.arch.syscall_prefix}sys_"

    def syscall_prefix(self) -> str:
        """Return what precedes a system call's name in kallsyms (``__x64_sys_``)."""
        return self._syscall_prefix
