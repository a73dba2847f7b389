"""Loading a whole `ObjectSpec`: its maps, its programs, and their links, owned together."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from trapline.abi import bpf as abi
from trapline.errors import FeatureMissingError, KernelError, NoSuchProbeError, TraplineError
from trapline.hints import TYPE_CHECKING
from trapline.ir.spec import (
    AttachPoint,
    IterAttach,
    KprobeAttach,
    KprobeMultiAttach,
    ObjectProgram,
    ObjectSpec,
    RawTracepointAttach,
    SpecialAttach,
    TrampolineAttach,
    UprobeMultiAttach,
)
from trapline.kernel.attach.table import ATTACH_TYPE_OF_KIND, attach_program, choose_attach_order
from trapline.kernel.link import Link, close_links
from trapline.kernel.map import Map
from trapline.kernel.program import LoadOptions, Program
from trapline.kernel.target import LiveTarget
from trapline.records import replace
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.machine import raise_memlock_limit

if TYPE_CHECKING:
    from trapline.kernel.missed import MissedHits

_WARN = Callable[[str], object]


def load_object(spec: ObjectSpec, target: LiveTarget, *, log_level: int = 0) -> LoadedObject:
    """Create the maps and load the programs of `spec`.

    Args:
        spec: the compiled program.
        target: the running kernel.
        log_level: keep the verifier's log of every program (`Program.log`).

    Raises:
        VerifierError: a program was rejected.
        TargetError, MapError, KernelError: the machine or the kernel cannot; nothing stays behind.
    """
    raise_memlock_limit()
    loaded = LoadedObject(spec, target)
    try:
        for map_spec in spec.maps:
            loaded.maps[map_spec.name] = Map.create(map_spec)
        for program_spec in spec.programs:
            loaded.programs[program_spec.name] = loaded.load_program(program_spec, log_level=log_level)
    except BaseException:
        loaded.close()
        raise
    return loaded


class LoadedObject:
    """Maps, programs and links of one program text; `close` ends all of them, links first.

    Args:
        spec: what it was made from.
        target: the running kernel.
    """

    def __init__(self, spec: ObjectSpec, target: LiveTarget) -> None:
        self.spec = spec
        self.target = target
        self.maps: dict[str, Map] = {}
        self.programs: dict[str, Program] = {}
        self.links: list[Link] = []
        self._missed: list[MissedHits] = []

    # ---- loading

    def load_program(
        self, spec: ObjectProgram, *, log_level: int = 0, map_fds: dict[str, int] | None = None
    ) -> Program:
        """Load one program with this object's maps; the caller owns the result unless it is put into `programs`.

        Args:
            spec: the program.
            log_level: keep the verifier's log.
            map_fds: descriptors of further maps by name.
        """
        spec = _adapt(spec, self.target)
        # Only those that it refers to: a script of many clauses has many maps.
        named = {ref.map for ref in spec.map_refs}
        fds = {name: self.maps[name].fileno() for name in named if name in self.maps}
        fds.update(map_fds or {})
        held: list[Fd] = []
        try:
            options = LoadOptions(
                license=self.spec.license,
                map_fds=fds,
                log_level=log_level,
            )
            options = _with_types(spec, options)
            options = _with_kfuncs(spec, options, self.target, held)
            options = _with_attach_target(spec, options, self.target, held)
            return Program.load(spec, options)
        finally:
            for fd in held:
                fd.close()

    # ---- attaching

    def attach(self, program: str | Program, point: AttachPoint) -> Link:
        """Attach a program to `point`; the link is owned by this object.

        Raises:
            TargetError, AttachError: see `trapline.kernel.attach`.
        """
        chosen = self.programs[program] if isinstance(program, str) else program
        link = attach_program(chosen, point, self.target)
        self.links.append(link)
        return link

    def attach_all(self, on_warning: _WARN | None = None) -> list[Link]:
        """Attach every program to all its attach points but the special ones.

        Programs on one place run in source order, entries and returns alike: the kernel runs some kinds last attached
        first, so those are attached in reverse.

        Args:
            on_warning: called with a line for each optional attach point that fails, and each function of a wildcard
                that was left out.

        Returns:
            The links in source order.

        Raises:
            TargetError, AttachError: a point that is not optional failed; what was attached before stays until `close`.
        """
        places = [
            (spec.name, point)
            for spec in self.spec.programs
            for point in spec.attach_points
            if not isinstance(point.attach, SpecialAttach)
        ]
        order = choose_attach_order([point.attach for _, point in places], self.target)
        made: dict[int, Link] = {}
        warnings: dict[int, list[str]] = {}
        for index in order:
            name, point = places[index]
            try:
                link = self.attach(name, point)
            except TraplineError as error:
                if not point.optional:
                    raise
                warnings[index] = [str(error)]
                continue
            made[index] = link
            left_out = [f"{point.label}: left out {s.symbol}: {s.reason}" for s in link.skipped]
            warnings[index] = [*left_out, *link.warnings]
        if on_warning:
            for index in sorted(warnings):
                for text in warnings[index]:
                    on_warning(text)
        ordered = [made[index] for index in sorted(made)]
        self.links = [link for link in self.links if link not in ordered] + ordered
        return ordered

    def special_programs(self, when: str) -> Iterator[Program]:
        """Yield the programs for ``begin``, ``end`` or ``signal``, in source order; `Program.run` runs one."""
        for spec in self.spec.programs:
            for point in spec.attach_points:
                if isinstance(point.attach, SpecialAttach) and point.attach.when == when:
                    yield self.programs[spec.name]

    def run_special(self, when: str) -> int:
        """Run the programs for ``begin``, ``end`` or ``signal``; return how many there were."""
        count = 0
        for program in self.special_programs(when):
            program.run()
            count += 1
        return count

    # ---- ending

    def missed(self) -> list[MissedHits]:
        """Return what the kernel says that the probes missed so far; after `detach` what it said last."""
        if not self.links:
            return list(self._missed)
        from trapline.kernel.missed import read_missed_hits

        return read_missed_hits(self.links, self.target)

    def detach(self) -> None:
        """Detach everything; maps and programs stay for a last look."""
        if self.links:
            self._missed = self.missed()
        self.close_links()

    def close_links(self) -> None:
        """Detach everything, without a last look at what was missed."""
        links, self.links = self.links, []
        close_links(links)

    def close(self) -> None:
        """Detach, then close programs and maps; closing twice is allowed."""
        self.close_links()
        for program in self.programs.values():
            program.close()
        for bpf_map in self.maps.values():
            bpf_map.close()

    def __enter__(self) -> LoadedObject:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# ---------------------------------------------------------------- what a program needs besides its bytecode


def _adapt(spec: ObjectProgram, target: LiveTarget) -> ObjectProgram:
    """Settle what attach mechanism the program is loaded for."""
    expected = spec.expected_attach.removeprefix("BPF_")
    attaches = [point.attach for point in spec.attach_points]
    if not expected:
        if any(isinstance(a, KprobeMultiAttach) and a.session for a in attaches):
            expected = "TRACE_KPROBE_SESSION"
        elif attaches and all(isinstance(a, KprobeMultiAttach) for a in attaches):
            expected = "TRACE_KPROBE_MULTI"
        elif attaches and all(isinstance(a, UprobeMultiAttach) for a in attaches):
            expected = "TRACE_UPROBE_MULTI"
        elif attaches and isinstance(attaches[0], TrampolineAttach):
            expected = ATTACH_TYPE_OF_KIND[attaches[0].kind]
        elif attaches and isinstance(attaches[0], IterAttach):
            expected = "TRACE_ITER"
        elif attaches and isinstance(attaches[0], RawTracepointAttach) and attaches[0].btf:
            expected = "TRACE_RAW_TP"
    if expected == "TRACE_KPROBE_MULTI":
        # A perf kprobe takes no program that was loaded for kprobe_multi (and the other way round).
        single = any(isinstance(a, KprobeAttach) for a in attaches)
        if single or not target.has("kprobe_multi"):
            expected = ""
    if expected == "TRACE_UPROBE_MULTI" and not target.has("uprobe_multi"):
        expected = ""
    return replace(spec, expected_attach=expected)


def _with_types(spec: ObjectProgram, options: LoadOptions) -> LoadOptions:
    """Describe the functions of a program that has several: the verifier wants that for callbacks."""
    if not spec.subprograms:
        return options
    from trapline.btf.ext import FuncInfo, encode_func_info  # imported when needed: most programs start faster
    from trapline.btf.write import BtfBuilder

    builder = BtfBuilder()
    u64 = builder.add_int("unsigned long long", 8)
    integer = builder.add_int("int", 4, signed=True)
    context = builder.add_ptr(0)
    records = []
    functions = [(f.index, f.name, f.parameters) for f in spec.subprograms]
    if all(index for index, _, _ in functions):
        functions.append((0, spec.name, 1))
    for index, name, parameters in sorted(functions):
        clean = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name) or "f"
        arguments = [(f"a{i}", context if index == 0 else u64) for i in range(max(parameters, 1))]
        records.append(FuncInfo(index, builder.add_func(clean, arguments, integer)))
    return replace(options, btf=builder.build(), func_info=encode_func_info(records))


def _with_kfuncs(spec: ObjectProgram, options: LoadOptions, target: LiveTarget, held: list[Fd]) -> LoadOptions:
    """Find the BTF ids of the kernel functions that the program calls."""
    if not spec.kfunc_refs:
        return options
    found: dict[str, tuple[int, int]] = {}
    for reference in spec.kfunc_refs:
        if reference.name in found:
            continue
        number = target.btf.func(reference.name)
        if number is None:
            if reference.weak:
                found[reference.name] = (0, 0)
                continue
            raise FeatureMissingError(
                f"{spec.label or spec.name}: this kernel has no function {reference.name} for BPF programs"
            )
        found[reference.name] = (number, 0)
    return replace(options, kfuncs=found)


def _with_attach_target(spec: ObjectProgram, options: LoadOptions, target: LiveTarget, held: list[Fd]) -> LoadOptions:
    """Find the BTF id of the function, tracepoint or iterator that a TRACING or LSM program is for."""
    for point in spec.attach_points:
        attach = point.attach
        if isinstance(attach, TrampolineAttach):
            if attach.program:
                from trapline.kernel.bpf_functions import find_bpf_function  # few programs need it

                number, fd = find_bpf_function(attach.program, attach.symbol, held)
                return replace(options, attach_btf_id=number, attach_btf_fd=fd)
            name = f"bpf_lsm_{attach.symbol}" if attach.kind == "lsm" else attach.symbol
            number, fd = _find_function(name, attach.module, point, target, held)
            return replace(options, attach_btf_id=number, attach_btf_fd=fd)
        if isinstance(attach, IterAttach):
            iterator = target.btf.func(f"bpf_iter_{attach.target}")
            if iterator is None:
                raise NoSuchProbeError(f"this kernel has no iterator {attach.target}")
            return replace(options, attach_btf_id=iterator)
        if isinstance(attach, RawTracepointAttach) and attach.btf:
            number, fd = _find_tracepoint(attach.name, attach.module, target, held)
            return replace(options, attach_btf_id=number, attach_btf_fd=fd)
    return options


def _find_function(name: str, module: str, point: AttachPoint, target: LiveTarget, held: list[Fd]) -> tuple[int, int]:
    if module in ("", "vmlinux"):
        number = target.btf.func(name)
        if number is not None:
            return number, 0
        if module == "vmlinux":
            raise NoSuchProbeError(f"cannot attach to {point.label}: the kernel's BTF has no function {name}")
    for candidate in _modules_of(name, module, target):
        btf = target.module_btf(candidate)
        number = btf.func(name) if btf else None
        if number is not None:
            return number, _module_btf_fd(candidate, held)
    near = target.near_probes("kprobe", name)
    raise NoSuchProbeError(
        f"cannot attach to {point.label}: the types of the kernel have no function {name}",
        near=near,
        hint=f"did you mean {', '.join(near)}?" if near else None,
    )


def _modules_of(name: str, module: str, target: LiveTarget) -> list[str]:
    if module:
        return [module]
    return sorted({s.module for s in target.symbols.find(name) if s.module})


def _find_tracepoint(name: str, module: str, target: LiveTarget, held: list[Fd]) -> tuple[int, int]:
    from trapline.btf import Typedef

    wanted = f"btf_trace_{name}"
    number = target.btf.find(wanted, Typedef) if module in ("", "vmlinux") else None
    if number is not None:
        return number, 0
    owners = {s.module for s in target.symbols.find(f"__tracepoint_{name}") if s.module}
    for owner in [module] if module else sorted(owners):
        btf = target.module_btf(owner)
        number = btf.find(wanted, Typedef) if btf else None
        if number is not None:
            return number, _module_btf_fd(owner, held)
    raise NoSuchProbeError(f"raw tracepoint {name} does not exist (the kernel's types do not describe it)")


def _module_btf_fd(module: str, held: list[Fd]) -> int:
    """Open the kernel's BTF object of `module`."""
    number: int | None = 0
    while (number := bpf.next_id(abi.BPF_BTF_GET_NEXT_ID, number or 0)) is not None:
        fd = bpf.open_by_id(abi.BPF_BTF_GET_FD_BY_ID, number)
        if fd is None:
            continue
        if bpf.read_btf_name(fd.fileno()) == module:
            held.append(fd)
            return fd.fileno()
        fd.close()
    raise KernelError(f"the types of module {module} are gone: {os.strerror(errno.ENOENT)}", errno=errno.ENOENT)
