"""Specs: the blueprint of a tracing program on both sides of the code generator.

`ModuleSpec` (functions as IR) is what a front end makes; `ObjectSpec` (bytecode) is what the kernel half loads.  Maps,
events and attach points are the same objects on both sides.  Everything here is frozen plain data, serialisable by
`trapline.ir.serial`, and independent of the machine that it was made on.
"""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING
from trapline.records import field, record

if TYPE_CHECKING:
    from typing import Literal

    from trapline.ir.function import Function
    from trapline.ir.values import Value

    # What LLVM's optimiser does with a module: what code needs that a front end wrote itself (variables into registers,
    # simpler instructions and branches), the standard pipeline, or that and loops of a known length unrolled.
    Optimiser = Literal["light", "standard", "unrolling"]

# ---------------------------------------------------------------- maps


@record(frozen=True)
class MapSpec:
    """A BPF map.

    Args:
        name: the name in the program's text (``@x``, ``counts``) or an internal one (``.ring``).
        type: the kernel's spelling without prefix (``HASH``, ``PERCPU_HASH``, ``RINGBUF``, ``PERF_EVENT_ARRAY`` …).
        key_size, value_size, max_entries, flags: as in bpf(2); a PERF_EVENT_ARRAY with 0 entries gets one per CPU.
        key, value: how a reader decodes them, or ``None`` for internal maps.
        initial: contents of element 0 (``.rodata``); the map is frozen after it was written when `frozen`.
        inner: the inner map of a map-in-map.
        printed: whether the run prints the map at its end.
        scalar: the map has one element whose key is not shown (a histogram's: one for each bucket). In an ARRAY or
            PERCPU_ARRAY, a word behind the value tells whether it was set.
        short: the map that takes the elements with short strings in their keys (`trapline.ir.short_keys`), if any. A
            front end names it where it allows that; `trapline.ir.passes.short_keys` makes it, or takes the name away.
    """

    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key: Value | None = None
    value: Value | None = None
    initial: bytes = b""
    frozen: bool = False
    inner: MapSpec | None = None
    printed: bool = False
    scalar: bool = False
    short: str = ""


# ---------------------------------------------------------------- attach points


@record(frozen=True)
class SpecialAttach:
    """Run by the session itself: `when` is ``begin``, ``end``, ``signal``, ``test`` or ``bench``."""

    when: str


@record(frozen=True)
class KprobeAttach:
    """One kprobe or kretprobe: `symbol` (+ `offset`) or an absolute `address`; `module` narrows the symbol."""

    symbol: str = ""
    offset: int = 0
    address: int = 0
    module: str = ""
    retprobe: bool = False
    maxactive: int = 0


@record(frozen=True)
class KprobeMultiAttach:
    """Many functions on one program.

    One ``kprobe_multi`` link where the kernel has it, one perf kprobe each where not.  `session` runs the program at
    entry and at return.  ``cookies[i]`` belongs to ``symbols[i]``; empty means 0 for all.
    """

    symbols: tuple[str, ...]
    cookies: tuple[int, ...] = ()
    retprobe: bool = False
    session: bool = False
    module: str = ""


@record(frozen=True)
class TracepointAttach:
    """A tracepoint ``category:name`` through perf."""

    category: str
    name: str


@record(frozen=True)
class RawTracepointAttach:
    """A raw tracepoint; `btf` asks for the BTF-typed flavour (``tp_btf``); `module` says whose types describe it."""

    name: str
    btf: bool = False
    module: str = ""


@record(frozen=True)
class TrampolineAttach:
    """fentry, fexit, fmod_ret or lsm (`kind`) on a function of the kernel, of `module`, or of a loaded BPF program.

    `program` is the kernel's id of that program, 0 for none.
    """

    kind: str
    symbol: str
    module: str = ""
    program: int = 0


@record(frozen=True)
class UprobeAttach:
    """A user-space probe at file `offset` of `path`, or at `symbol` (+ `offset`), resolved when attaching."""

    path: str
    symbol: str = ""
    offset: int = 0
    retprobe: bool = False
    pid: int = -1
    ref_ctr_offset: int = 0


@record(frozen=True)
class UprobeMultiAttach:
    """Many places of one file on one program.

    One ``uprobe_multi`` link where the kernel has it, one perf uprobe each where not.  ``cookies[i]`` and
    ``counters[i]`` (offset of a reference counter, 0 for none) belong to ``offsets[i]``; empty means 0 for all.
    `as_one` says that the places make one probe.
    """

    path: str
    offsets: tuple[int, ...]
    cookies: tuple[int, ...] = ()
    counters: tuple[int, ...] = ()
    retprobe: bool = False
    pid: int = -1
    as_one: bool = False


@record(frozen=True)
class PerfAttach:
    """A perf event: `type`/`config` as in perf_event_open(2).

    One of `period` and `frequency` is not 0.  `cpu` is -1 for every online CPU, -2 for the first online one.
    A breakpoint is of type ``PERF_TYPE_BREAKPOINT`` and watches `length` bytes at `address` for `access`
    (``HW_BREAKPOINT_…``).  With `attr`, a whole ``struct perf_event_attr``, the event is that; `group_fd` is the event
    that leads its group.
    """

    type: int
    config: int
    period: int = 0
    frequency: int = 0
    cpu: int = -1
    pid: int = -1
    access: int = 0
    address: int = 0
    length: int = 0
    attr: bytes = b""
    group_fd: int = -1


@record(frozen=True)
class IterAttach:
    """A BPF iterator over `target`, or over what belongs to process `pid` (not 0).

    With `pin`, a path in bpffs, each reader of that file runs it.
    """

    target: str
    pin: str = ""
    pid: int = 0


Attach = (
    SpecialAttach
    | KprobeAttach
    | KprobeMultiAttach
    | TracepointAttach
    | RawTracepointAttach
    | TrampolineAttach
    | UprobeAttach
    | UprobeMultiAttach
    | PerfAttach
    | IterAttach
)


@record(frozen=True)
class AttachPoint:
    """Where a program runs.

    Args:
        attach: the mechanism and its parameters.
        label: the probe's name as the user knows it (``kprobe:do_nanosleep``); for messages and statistics.
        cookie: what ``bpf_get_attach_cookie`` returns there (single-attach mechanisms only).
        span: ``(start, end)`` of the attach point in the program's text, or ``None``.
        optional: a failure to attach is a warning instead of an error.
        internal: it serves another attach point: attached first, and not counted.
    """

    attach: Attach
    label: str
    cookie: int = 0
    span: tuple[int, int] | None = None
    optional: bool = False
    internal: bool = False


# ---------------------------------------------------------------- events: what a ring-buffer record means

# Every record starts with a header: {u32 event; u32 probe}, where `event` indexes ModuleSpec.events and `probe` indexes
# ModuleSpec.programs.  With ModuleSpec.typed_events the header goes on: {u64 nsecs (CLOCK_BOOTTIME); u32 pid (tgid);
# u32 tid; u32 cpu; u32 pad; u64 cookie}.  The event's fields follow at the offsets they name, from the record's start.
SHORT_HEADER = 8
TYPED_HEADER = 40


@record(frozen=True)
class Field:
    """One printed value: its byte offset in the record, its layout, and its name (an expression's text, or empty)."""

    offset: int
    value: Value
    name: str = ""


@record(frozen=True)
class PrintfEvent:
    """Formatted text.

    `stream` is ``out``, ``error`` or ``warn`` (both with the source position), ``system`` or ``cat``; `origins` are the
    macro calls that `span` comes from.
    """

    format: str
    args: tuple[Field, ...]
    size: int
    stream: str = "out"
    span: tuple[int, int] | None = None
    origins: tuple[tuple[int, int], ...] = ()


@record(frozen=True)
class PrintValueEvent:
    """``print(x)`` of a value that is not a map."""

    field: Field
    size: int


@record(frozen=True)
class PrintMapElementEvent:
    """``print(@m[k])``: key and value captured in the record (`key` is ``None`` for a scalar map)."""

    map: str
    key: Field | None
    value: Field
    size: int


@record(frozen=True)
class PrintMapEvent:
    """``print(@m, top, div)``: the reader walks the map; 0 means "not given"."""

    map: str
    top: int = 0
    div: int = 0
    size: int = 8


@record(frozen=True)
class ClearMapEvent:
    """``clear(@m)``, or ``zero(@m)`` when `zero`."""

    map: str
    zero: bool = False
    size: int = 8


@record(frozen=True)
class ExitEvent:
    """``exit(code)``: an s64 code at `offset`."""

    offset: int
    size: int


@record(frozen=True)
class UnwatchEvent:
    """``unwatch(address)``: a u64 at `offset`; the watchpoints at that address are removed."""

    offset: int
    size: int


@record(frozen=True)
class TimeEvent:
    """``time(format)``: the reader's wall clock."""

    format: str
    size: int = 8


@record(frozen=True)
class JoinEvent:
    """``join(argv, sep)``: {u32 count; u32 pad} at `offset`, then `count` strings in slots of `slot` bytes."""

    separator: str
    offset: int
    slot: int
    limit: int
    size: int


@record(frozen=True)
class RawEvent:
    """Bytes for a callback of the embedding program (BCC's perf and ring buffers)."""

    name: str
    size: int = 0


@record(frozen=True)
class PacketEvent:
    """``skboutput(path, …)``: a packet of the perf buffer `PACKETS`; `skip` bytes before it are no part of the file."""

    path: str
    skip: int
    size: int = 16


Event = (
    PrintfEvent
    | PrintValueEvent
    | PrintMapElementEvent
    | PrintMapEvent
    | ClearMapEvent
    | ExitEvent
    | UnwatchEvent
    | TimeEvent
    | JoinEvent
    | RawEvent
    | PacketEvent
)


# ---------------------------------------------------------------- run-time faults of a program


@record(frozen=True)
class FaultSite:
    """A place whose helper call can fail at run time.

    Element i of the per-CPU array ``.faults`` counts the failures of site i: {u64 count; s64 last return value}.
    `kind` is ``map_full``, ``missing_key``, ``read``, ``div_zero`` or ``helper``; `warn` says whether it is reported
    without being asked (``-k``).
    """

    kind: str
    helper: str
    span: tuple[int, int] | None
    warn: bool = True


# ---------------------------------------------------------------- programs

# Names of the internal maps.
RING = ".ring"  # RINGBUF: the records
WAKE = ".wake"  # ARRAY, one u64, mapped: 1 while the ring's reader sleeps and wants to be woken by the next record
LOST = ".lost"  # PERCPU_ARRAY of u64, indexed by program: records that did not fit into the ring
FAULTS = ".faults"  # PERCPU_ARRAY of {u64; s64}, indexed by FaultSite
START = ".start"  # ARRAY, one u64: CLOCK_BOOTTIME when the program was loaded, in nanoseconds
TAI = ".tai"  # ARRAY, one u64: CLOCK_TAI minus CLOCK_BOOTTIME when the program was loaded, in nanoseconds
WALL = ".wall"  # ARRAY, one u64: CLOCK_REALTIME minus CLOCK_BOOTTIME when the program was loaded, in nanoseconds
PACKETS = ".packets"  # PERF_EVENT_ARRAY: {u32 event; u32 length; u64 boot_ns}, then the bytes of a packet
SCRATCH = ".scratch"  # PERCPU_ARRAY, one element: temporaries too large for the stack
RODATA = ".rodata"  # frozen ARRAY, one element: constants


@record(frozen=True)
class FilesUsed:
    """Files of user programs that the result depends on: what `name` meant for `pid`, as `fingerprint` says."""

    name: str
    pid: int
    fingerprint: str


@record(frozen=True)
class ProgramSpec:
    """A BPF program before code generation.

    Args:
        name: the kernel's name for it (an identifier; at most 15 bytes are kept).
        type: the kernel's spelling without prefix (``KPROBE``, ``TRACEPOINT``, ``PERF_EVENT``, ``TRACING`` …).
        function: the entry point's IR.
        attach_points: where it runs; empty when the embedding program attaches it later.
        label: the probe as the user wrote it.
        subprograms: functions that `function` refers to by name (callbacks).
        preemptible: another thread may run it on the same CPU before it ends, unless it forbids that, which the kernel
            lets it do.
    """

    name: str
    type: str
    function: Function
    attach_points: tuple[AttachPoint, ...] = ()
    label: str = ""
    expected_attach: str = ""
    span: tuple[int, int] | None = None
    subprograms: tuple[Function, ...] = ()
    preemptible: bool = False


@record(frozen=True)
class ModuleSpec:
    """All of a compiled program text, as IR: the front ends' result."""

    source_name: str
    source_text: str
    programs: tuple[ProgramSpec, ...]
    maps: tuple[MapSpec, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[FaultSite, ...] = ()
    probe_names: tuple[str, ...] = ()
    config: tuple[tuple[str, str | int | bool], ...] = ()
    typed_events: bool = False
    license: str = "GPL"
    files: tuple[FilesUsed, ...] = ()
    imports: tuple[tuple[str, str, int, int], ...] = ()  # see `trapline.source.Sources`
    report_reads: bool = False  # count the memory reads that fail (-k)
    optimiser: Optimiser = "standard"


@record(frozen=True)
class MapRef:
    """Instruction `index` (an ld_imm64) takes the descriptor of `map`; `value` asks for the address of element 0."""

    index: int
    map: str
    value: bool = False


@record(frozen=True)
class KfuncRef:
    """Instruction `index` (a call) takes the BTF id of the kernel function `name`."""

    index: int
    name: str
    weak: bool = False


@record(frozen=True)
class SubprogramInfo:
    """A function in the bytecode: its first instruction and its name (for func_info)."""

    index: int
    name: str
    parameters: int = 1


@record(frozen=True)
class ObjectProgram:
    """A BPF program as bytecode: `instructions` are 8 bytes each.

    ``spans[i] = (instruction, start, end)``: from this instruction on, the code belongs to that part of the source.
    """

    name: str
    type: str
    instructions: bytes
    map_refs: tuple[MapRef, ...] = ()
    kfunc_refs: tuple[KfuncRef, ...] = ()
    subprograms: tuple[SubprogramInfo, ...] = ()
    spans: tuple[tuple[int, int, int], ...] = ()
    attach_points: tuple[AttachPoint, ...] = ()
    label: str = ""
    expected_attach: str = ""
    span: tuple[int, int] | None = None


@record(frozen=True)
class ObjectSpec:
    """The compiled program: everything that the kernel half and the runtime need, and all that the cache stores."""

    source_name: str
    source_text: str
    programs: tuple[ObjectProgram, ...]
    maps: tuple[MapSpec, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[FaultSite, ...] = ()
    probe_names: tuple[str, ...] = ()
    config: tuple[tuple[str, str | int | bool], ...] = ()
    typed_events: bool = False
    license: str = "GPL"
    extra: tuple[tuple[str, str], ...] = field(default=())
    files: tuple[FilesUsed, ...] = ()
    imports: tuple[tuple[str, str, int, int], ...] = ()
