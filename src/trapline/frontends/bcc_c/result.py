"""What compiling a BCC C text gives: programs as IR, and descriptions of tables and events for the Python side.

The C types here are eager, pointer-opaque trees (never recursive), so that they can be serialised and turned into
ctypes classes without the compiler.
"""

from __future__ import annotations

from trapline.ir.spec import ModuleSpec
from trapline.records import field, record
from trapline.source import Diagnostic

# ---------------------------------------------------------------- C types of keys, leaves and events


@record(frozen=True)
class IntC:
    """An integer type.

    Args:
        name: its canonical C name (``char``, ``unsigned int``, ``long long``, ``_Bool``, ``unsigned __int128`` …).
        size: bytes (1, 2, 4, 8, 16).
        signed: whether it is signed.
        enum: the tag of an enum (``name`` is then its integer type), ``""`` for a plain integer.
    """

    name: str
    size: int
    signed: bool
    enum: str = ""


@record(frozen=True)
class PointerC:
    """A pointer: an unsigned 64-bit address; `name` is its C spelling (``struct sock *``)."""

    name: str
    size: int = 8


@record(frozen=True)
class ArrayC:
    """`count` elements (0 for a flexible array member)."""

    element: TypeC
    count: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.element.size * self.count


@record(frozen=True)
class FieldC:
    """A member of a record.

    Args:
        name: its name, ``""`` for an anonymous struct or union.
        type: its type.
        offset: bytes from the start of the record (of the storage unit, for a bit-field).
        bits: width of a bit-field, else 0.
        shift: lowest bit of a bit-field inside the `type.size` bytes at `offset`.
    """

    name: str
    type: TypeC
    offset: int
    bits: int = 0
    shift: int = 0


@record(frozen=True)
class RecordC:
    """A struct or union with the layout that the C program uses.

    Args:
        name: its tag (or the typedef's name), ``""`` when it has none.
        kind: ``struct`` or ``union``.
        size, align: bytes.
        fields: members in order; padding is not listed.
        packed: whether it was declared packed.
    """

    name: str
    kind: str
    size: int
    align: int
    fields: tuple[FieldC, ...]
    packed: bool = False


@record(frozen=True)
class VoidC:
    """No type: the key of a ring buffer, the leaf of a queue's key."""

    size: int = 0


TypeC = IntC | PointerC | ArrayC | RecordC | VoidC

# ---------------------------------------------------------------- tables and programs


@record(frozen=True)
class TableInfo:
    """A map as the C text declares it.

    Args:
        name: its C name.
        kind: BCC's name of the kind (``hash``, ``histogram`` is already ``hash`` or ``array``, ``percpu_array``,
            ``lru_hash``, ``stacktrace``, ``perf_output``, ``perf_array``, ``ringbuf``, ``prog``, ``queue`` …).
        map_type: the kernel's spelling (``HASH``, ``PERF_EVENT_ARRAY`` …): equals the `MapSpec`'s.
        key, leaf: C types.
        max_entries, flags: as declared; 0 entries of a perf array means one per possible CPU; a ring buffer's are
            bytes.
        scope: ``private``, ``public`` (``BPF_TABLE_PUBLIC``), ``shared``, ``pinned`` or ``extern``.
        pinned: path of the pinned map, for the scope ``pinned``.
        inner: name of the inner map's table, for maps of maps.
        event: type of what ``perf_submit``, ``ringbuf_output`` or ``ringbuf_submit`` sends, or ``None``.
    """

    name: str
    kind: str
    map_type: str
    key: TypeC
    leaf: TypeC
    max_entries: int
    flags: int = 0
    scope: str = "private"
    pinned: str = ""
    inner: str = ""
    event: TypeC | None = None


@record(frozen=True)
class AutoAttach:
    """Where BCC attaches a function by its name alone.

    Args:
        kind: ``kprobe``, ``kretprobe``, ``tracepoint``, ``raw_tracepoint``, ``kfunc``, ``kretfunc``, ``fmod_ret``,
            ``lsm`` or ``iter``.
        event: function, ``category:name``, raw tracepoint, hook or iterator target; as written, so that a
            system call may still carry another machine's prefix.
        module: the module of a kfunc, ``""`` for the kernel proper.
        implicit: whether the constructor attaches it (``fmod_ret`` and ``iter`` are attached only when asked).
    """

    kind: str
    event: str
    module: str = ""
    implicit: bool = True


@record(frozen=True)
class ProgramInfo:
    """A function that can be loaded as a BPF program (externally visible, with a body).

    Args:
        name: its C name; ``module.programs`` has a `ProgramSpec` of the same name.
        type: the program type that its name implies, ``KPROBE`` when nothing does.
        expected_attach: the attach type that goes with it, or ``""``.
        attach: where it attaches by name, or ``None``.
        span: characters of its definition in the text.
    """

    name: str
    type: str
    expected_attach: str = ""
    attach: AutoAttach | None = None
    span: tuple[int, int] | None = None


@record(frozen=True)
class CResult:
    """A compiled BCC text.

    Args:
        module: all programs and maps as IR.  Each `ProgramSpec` is complete by itself (static functions are inlined),
            has no attach points, and may be compiled alone and under another program type with `dataclasses.replace`.
        tables: descriptions of the maps, by name, in the order of declaration.
        programs: descriptions of the functions, by name, in the order of definition.
        diagnostics: warnings.
    """

    module: ModuleSpec
    tables: dict[str, TableInfo]
    programs: dict[str, ProgramInfo]
    diagnostics: tuple[Diagnostic, ...] = ()


@record(frozen=True)
class COptions:
    """How to compile.

    Args:
        cflags: ``-D``, ``-U``, ``-I``, ``-include`` and ``-W`` options, as BCC's ``cflags=``.
        defines: macros to define, name to replacement text.
        externs: tables of earlier texts that ``BPF_TABLE("extern", …)`` may name.
        folder: where the text's file is, and headers that it includes by quotes; empty for a text without a file.
    """

    cflags: tuple[str, ...] = ()
    defines: dict[str, str] = field(default_factory=dict)
    externs: dict[str, TableInfo] = field(default_factory=dict)
    folder: str = ""
