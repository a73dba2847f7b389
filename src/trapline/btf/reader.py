"""Read BTF: types by id, ids by name.  Nothing is decoded before it is asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from struct import error, unpack_from
from zlib import crc32

from trapline.btf import types as t
from trapline.btf.index import NameTable, build_table, decode_index, encode_index, scan_offsets
from trapline.btf.peek import find_words
from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from mmap import mmap

_HEADER = Layout("<HBBIIIII")  # struct btf_header
_MAGIC = 0xEB9F
_ENUM_WORDS = {t.BTF_KIND_ENUM: 2, t.BTF_KIND_ENUM64: 3}  # 32-bit words of an enumerator
# A search of the strings takes a millisecond or two; a table of all names a few, or a hundred if Python makes it.
_FEW_SEARCHES, _FEWER_SEARCHES = 40, 4
_MAX_CHAIN = 64  # typedefs and qualifiers in a row, nested structs; more is a loop

T = TypeVar("T", bound=t.BtfType)
Kind = type[t.BtfType]
KindOf = type[T]


class Scanner(Protocol):
    """Does faster than Python can what goes through all types of a kernel; ``None`` leaves it to Python."""

    def scan(self, source: bytes, types: range) -> tuple[Sequence[int], bytes] | None:
        """Return the offset in words of each type, and the types' first words.

        Args:
            source: all of the BTF.
            types: where its type section is.
        """

    def hash_names(
        self, source: bytes, types: range, strings: range, offsets: Sequence[int], first_id: int
    ) -> NameTable | None:
        """Return the table of all names: what `build_table` makes of them.

        Args:
            source: all of the BTF.
            types: where its type section is.
            strings: where its string section is; it ends with NUL.
            offsets: what `scan` returned.
            first_id: of the first type.
        """


class TypeStore:
    """The types of one kernel, module or object file.

    Args:
        data: the BTF bytes: any buffer, also a mapped file, which must stay open as long as this object.
        base: the kernel's BTF when `data` is a module's (split BTF).
        name: who the types belong to: ``vmlinux`` or a module's name.
        index: what `index_bytes` returned for the same `data`, which saves the scan.
        scanner: goes through the types faster than Python can.

    Raises:
        DecodeError: malformed bytes, or an index that belongs to other bytes.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | mmap,
        *,
        base: TypeStore | None = None,
        name: str = "vmlinux",
        index: bytes | memoryview | None = None,
        scanner: Scanner | None = None,
    ) -> None:
        self.name = name
        self.base = base
        source = bytes(data) if isinstance(data, (memoryview, bytearray)) else data
        try:
            magic, version, _, header, type_start, type_length, string_start, string_length = _HEADER.unpack_from(
                source
            )
        except error:
            raise DecodeError(f"BTF of {len(source)} bytes is shorter than its header") from None
        if magic != _MAGIC:
            swapped = " (big-endian BTF is not supported)" if magic == 0x9FEB else ""
            raise DecodeError(f"not BTF: magic {magic:#06x} instead of {_MAGIC:#06x}{swapped}")
        if version != 1:
            raise DecodeError(f"BTF version {version} is unknown", offset=2)
        type_start += header
        string_start += header
        if header < _HEADER.size or type_length % 4 or type_start + type_length > len(source):
            raise DecodeError("the BTF type section is misplaced", offset=8)
        if string_start + string_length > len(source):
            raise DecodeError("the BTF string section is misplaced", offset=16)
        if string_length == 0 and base is None:
            raise DecodeError("the BTF string section is empty", offset=20)
        self._source = source
        self._types = memoryview(source)[type_start : type_start + type_length]
        self._type_start = type_start
        self._type_range = range(type_start, type_start + type_length)
        self._string_start = string_start
        self._string_end = string_start + string_length
        if string_length and source[self._string_end - 1] != 0:
            raise DecodeError("the BTF string section does not end with NUL", offset=self._string_end - 1)
        self._string_base: int = base.string_limit if base else 0
        self.string_limit: int = self._string_base + string_length
        self.first_id: int = base.end_id if base else 1
        self.identity: int = self._identify()
        self._scanner = scanner
        self._names: NameTable | None = None
        self._name_words: bytes | None = None
        self._searches = 0
        self._type_bytes: bytes | None = None
        self._words: Sequence[int] = self._types.cast("I")
        self._offsets: Sequence[int]
        if index is None:
            found = scanner.scan(source, self._type_range) if scanner and isinstance(source, bytes) else None
            if found is None:
                self._offsets = scan_offsets(array("I", self._types.tobytes()))
            else:
                self._offsets, self._name_words = found
        else:
            self._offsets, self._names = decode_index(index, self.identity)
        self.end_id: int = self.first_id + len(self._offsets)
        self._cache: dict[int, t.BtfType] = {0: t.Void()}
        self._found: dict[str, tuple[int, ...]] = {}
        self.alignments: dict[int, int] = {}  # kept by `trapline.btf.layout`

    def _identify(self) -> int:
        """Hash the header and samples of the bytes: enough to tell one kernel build from another, in microseconds."""
        size = len(self._source)
        check = crc32(size.to_bytes(8, "little"), self.base.identity if self.base else 0)
        step = max(size // 64, 1)
        for start in range(0, size, step):
            check = crc32(self._source[start : start + 512], check)
        return check

    def __len__(self) -> int:
        """Count the types, `Void` and the base's included."""
        return self.end_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._offsets)} types>"

    def index_bytes(self) -> bytes:
        """Return the index as bytes to be kept on disk and given back as `index` (about 1.5 MB for a kernel)."""
        return encode_index(self.identity, self._offsets, self.hash_names())

    def hash_names(self) -> NameTable:
        """Make the table of all names, unless it is there: before many names are looked up."""
        if self._names is None:
            self._names = self._scan_names() or self._build_names()
        return self._names

    # ---- strings

    def _string_bytes(self, offset: int) -> bytes:
        if offset < self._string_base and self.base is not None:
            return self.base._string_bytes(offset)
        start = self._string_start + offset - self._string_base
        if start >= self._string_end:
            if offset == 0:
                return b""
            raise DecodeError(f"BTF string offset {offset} is beyond the string section", offset=start)
        return self._source[start : self._source.find(b"\0", start)]

    def string(self, offset: int) -> str:
        """Return the string at an offset of the string section (the base's sections come first)."""
        return self._string_bytes(offset).decode("utf-8", "replace")

    # ---- types

    def kind(self, type_id: int) -> int:
        """Return the ``BTF_KIND_…`` number of a type without decoding it."""
        if type_id < self.first_id:
            return self.base.kind(type_id) if self.base and type_id else 0
        return self._info(type_id)[1] >> 24 & 31

    def name_of(self, type_id: int) -> str:
        """Return the name of a type (empty for an anonymous one) without decoding it."""
        if type_id < self.first_id:
            return self.base.name_of(type_id) if self.base and type_id else ""
        return self.string(self._info(type_id)[0])

    def _info(self, type_id: int) -> tuple[int, int]:
        """Return ``name_off`` and ``info`` of one of our own types."""
        try:
            word = self._offsets[type_id - self.first_id]
            return self._words[word], self._words[word + 1]
        except IndexError:
            raise DecodeError(f"BTF of {self.name} has no type {type_id}, only {self.end_id}") from None

    def type(self, type_id: int) -> t.BtfType:
        """Decode the type with an id.

        Raises:
            DecodeError: no such id, or a malformed type.
        """
        found = self._cache.get(type_id)
        if found is None:
            if 0 <= type_id < self.first_id and self.base is not None:
                return self.base.type(type_id)
            if not self.first_id <= type_id < self.end_id:
                raise DecodeError(f"BTF of {self.name} has no type {type_id}, only {self.end_id}")
            found = self._cache[type_id] = self._decode(type_id)
        return found

    def expect(self, type_id: int, *classes: KindOf[T]) -> T:
        """Decode a type that must be one of `classes`.

        Raises:
            DecodeError: it is another.
        """
        found = self.type(type_id)
        if not isinstance(found, classes):
            wanted = " or ".join(c.__name__ for c in classes)
            raise DecodeError(f"BTF type {type_id} is a {type(found).__name__} where a {wanted} is expected")
        return found

    def _decode(self, type_id: int) -> t.BtfType:
        start = 4 * self._offsets[type_id - self.first_id]
        try:
            return self._decode_at(start)
        except error:
            raise DecodeError(f"BTF type {type_id} is cut off", offset=self._type_start + start) from None

    def _decode_at(self, start: int) -> t.BtfType:
        view = self._types
        name_offset, info, value = unpack_from("<III", view, start)
        name = self.string(name_offset)
        kind, count, flag = info >> 24 & 31, info & 0xFFFF, bool(info >> 31)
        body = start + 12
        if kind in (t.BTF_KIND_STRUCT, t.BTF_KIND_UNION):
            words = unpack_from(f"<{3 * count}I", view, body)
            string = self.string
            if flag:
                members = tuple(
                    t.Member(string(words[i]), words[i + 1], words[i + 2] & 0xFFFFFF, words[i + 2] >> 24)
                    for i in range(0, 3 * count, 3)
                )
            else:
                members = tuple(t.Member(string(words[i]), words[i + 1], words[i + 2]) for i in range(0, 3 * count, 3))
            return (t.Struct if kind == t.BTF_KIND_STRUCT else t.Union)(name, value, members)
        if kind == t.BTF_KIND_INT:
            (word,) = unpack_from("<I", view, body)
            coding = word >> 24
            return t.Int(
                name,
                value,
                word & 0xFF,
                bool(coding & t.BTF_INT_SIGNED),
                bool(coding & t.BTF_INT_CHAR),
                bool(coding & t.BTF_INT_BOOL),
                word >> 16 & 0xFF,
            )
        if kind == t.BTF_KIND_ARRAY:
            return t.Array(*unpack_from("<III", view, body))
        if kind == t.BTF_KIND_ENUM:
            words = unpack_from("<" + ("Ii" if flag else "II") * count, view, body)
            return t.Enum(name, value, flag, self._enumerator_values(words[::2], words[1::2]))
        if kind == t.BTF_KIND_ENUM64:
            words = unpack_from("<" + ("Iq" if flag else "IQ") * count, view, body)
            return t.Enum64(name, value, flag, self._enumerator_values(words[::2], words[1::2]))
        if kind == t.BTF_KIND_FUNC_PROTO:
            words = unpack_from(f"<{2 * count}I", view, body)
            names = map(self.string, words[::2])
            return t.FuncProto(tuple(map(t.Param, names, words[1::2])), value)
        if kind == t.BTF_KIND_FUNC:
            return t.Func(name, value, count)
        if kind == t.BTF_KIND_VAR:
            return t.Var(name, value, *unpack_from("<I", view, body))
        if kind == t.BTF_KIND_DATASEC:
            words = unpack_from(f"<{3 * count}I", view, body)
            return t.DataSec(name, value, tuple(map(t.SecVar, words[::3], words[1::3], words[2::3])))
        if kind == t.BTF_KIND_DECL_TAG:
            (component,) = unpack_from("<i", view, body)
            return t.DeclTag(name, value, component, flag)
        return _decode_plain(kind, name, value, flag)

    def _enumerator_values(self, names: Sequence[int], values: Sequence[int]) -> tuple[t.Enumerator, ...]:
        return tuple(map(t.Enumerator, map(self.string, names), values))

    # ---- names

    def find(self, name: str, *kinds: Kind) -> int | None:
        """Find the first type with a name.

        Args:
            name: tag of a struct, union or enum, or name of a typedef, function, variable, integer …
            kinds: the classes that count (``Struct``, ``Union`` …); none: all.

        Returns:
            The type id (a base's own types come first), or ``None``.
        """
        found = self.find_all(name, *kinds)
        return found[0] if found else None

    def find_all(self, name: str, *kinds: Kind) -> tuple[int, ...]:
        """Find all types with a name, like `find`, in the order of the ids."""
        ids = self._found.get(name)
        if ids is None:
            key = name.encode("utf-8", "replace")
            inherited = self.base.find_all(name) if self.base else ()
            ids = self._found[name] = inherited + tuple(self._search(key)) if key else ()
        if not kinds:
            return ids
        numbers = {kind.KIND for kind in kinds}
        return tuple(i for i in ids if self.kind(i) in numbers)

    def _search(self, name: bytes) -> Iterator[int]:
        table = self._table_if_worth_it()
        if table is not None:
            # An enum is in it under its constants' names, too.
            candidates = dict.fromkeys(table.candidates(name))
            yield from (found for found in candidates if self._string_bytes(self._info(found)[0]) == name)
            return
        if self._name_words is None:
            words = self._words
            self._name_words = array("I", [words[start] for start in self._offsets]).tobytes()
        found = {
            self.first_id + position
            for offset in self._string_offsets(name)
            for position in find_words(self._name_words, offset)
        }
        yield from sorted(found)

    def _string_offsets(self, name: bytes) -> Iterator[int]:
        """Find every offset at which a string `name` starts.

        Tails of longer strings are left out, though the format allows to share them: nobody writes such BTF, and
        looking at every ``…name`` takes seconds.
        """
        if self.base is not None:
            yield from self.base._string_offsets(name)
        start, end = self._string_start, self._string_end
        if self._source[start : start + len(name) + 1] == name + b"\0":
            yield self._string_base
        needle = b"\0" + name + b"\0"
        position = self._source.find(needle, start, end)
        while position >= 0:
            yield position + 1 - start + self._string_base
            position = self._source.find(needle, position + 1, end)

    def _table_if_worth_it(self) -> NameTable | None:
        self._searches += 1
        few = _FEW_SEARCHES if self._scanner is None else _FEWER_SEARCHES
        return self.hash_names() if self._names is not None or self._searches > few else None

    def _scan_names(self) -> NameTable | None:
        if self._scanner is None or self.base is not None or not isinstance(self._source, bytes):
            return None
        strings = range(self._string_start, self._string_end)
        return self._scanner.hash_names(self._source, self._type_range, strings, self._offsets, self.first_id)

    def _build_names(self) -> NameTable:
        words = array("I", self._types.tobytes())
        names: list[int] = []
        ids: list[int] = []
        for type_id, start in enumerate(self._offsets, self.first_id):
            names.append(words[start])
            ids.append(type_id)
            step = _ENUM_WORDS.get(words[start + 1] >> 24 & 31)
            if step:
                count = words[start + 1] & 0xFFFF
                names += words[start + 3 : start + 3 + step * count : step]
                ids += [type_id] * count
        read = self._string_bytes
        named = [(read(name), type_id) for name, type_id in zip(names, ids, strict=True) if name]
        return build_table([name for name, _ in named], [type_id for _, type_id in named], len(self._offsets))

    def func(self, name: str) -> int | None:
        """Find the id of the `Func` with a name."""
        return self.find(name, t.Func)

    def struct(self, tag: str) -> int | None:
        """Find the id of the struct or union with a tag."""
        return self.find(tag, t.Struct, t.Union)

    def enum_constant(self, name: str) -> tuple[int, int] | None:
        """Find an enumerator.

        Returns:
            Its value and the id of its enum, or ``None``.
        """
        if self.base is not None:
            inherited = self.base.enum_constant(name)
            if inherited is not None:
                return inherited
        key = name.encode("utf-8", "replace")
        table = self._table_if_worth_it()
        for type_id in table.candidates(key) if table else self._search_enums(key):
            owner = self.type(type_id) if self.kind(type_id) in _ENUM_WORDS else None
            for constant in owner.values if isinstance(owner, (t.Enum, t.Enum64)) else ():
                if constant.name == name:
                    return constant.value, type_id
        return None

    def _search_enums(self, name: bytes) -> Iterator[int]:
        """Find the enums that may have a constant, without an index: by the offset of its name."""
        if self._type_bytes is None:
            self._type_bytes = self._types.tobytes()
        found = set()
        for offset in self._string_offsets(name):
            for word in find_words(self._type_bytes, offset):
                type_id = self.first_id + bisect_right(self._offsets, word) - 1
                if self.kind(type_id) in _ENUM_WORDS:
                    found.add(type_id)
        yield from sorted(found)

    def ids(self, *kinds: Kind) -> Iterator[int]:
        """Iterate over the ids of our own types (not the base's) of some kinds; none: all."""
        numbers = {kind.KIND for kind in kinds}
        words = self._words
        try:
            for type_id, start in enumerate(self._offsets, self.first_id):
                if not numbers or (words[start + 1] >> 24 & 31) in numbers:
                    yield type_id
        except IndexError:
            raise DecodeError("the BTF index points beyond the types") from None

    def functions(self) -> Iterator[tuple[str, int]]:
        """Iterate over the name and id of our own functions (not the base's)."""
        for type_id in self.ids(t.Func):
            yield self.name_of(type_id), type_id

    # ---- through typedefs and qualifiers

    def resolve(self, type_id: int) -> int:
        """Follow typedefs, qualifiers and type tags to the id of the type behind them."""
        return self.resolve_tags(type_id)[0]

    def resolve_tags(self, type_id: int) -> tuple[int, tuple[str, ...]]:
        """Like `resolve`, and report the type tags that were met (``user``, ``percpu``, ``rcu`` …).

        The tags of a pointer's target are on the target: ``int __user *`` is ``Ptr → TypeTag(user) → int``.
        """
        tags: list[str] = []
        for _ in range(_MAX_CHAIN):
            found = self.type(type_id)
            if isinstance(found, t.TypeTag):
                tags.append(found.name)
                type_id = found.target
            elif isinstance(found, (t.Typedef, t.Const, t.Volatile, t.Restrict)):
                type_id = found.target
            else:
                return type_id, tuple(tags)
        raise DecodeError(f"BTF type {type_id} refers to itself through typedefs or qualifiers")

    def resolved(self, type_id: int) -> t.BtfType:
        """Return the type behind typedefs, qualifiers and type tags."""
        return self.type(self.resolve(type_id))


def _decode_plain(kind: int, name: str, value: int, flag: bool) -> t.BtfType:
    """Decode the kinds that are nothing but the 12-byte header."""
    if kind == t.BTF_KIND_TYPEDEF:
        return t.Typedef(name, value)
    if kind == t.BTF_KIND_FWD:
        return t.Fwd(name, flag)
    if kind == t.BTF_KIND_FLOAT:
        return t.Float(name, value)
    if kind == t.BTF_KIND_TYPE_TAG:
        return t.TypeTag(name, value, flag)
    plain = {
        t.BTF_KIND_PTR: t.Ptr,
        t.BTF_KIND_CONST: t.Const,
        t.BTF_KIND_VOLATILE: t.Volatile,
        t.BTF_KIND_RESTRICT: t.Restrict,
    }.get(kind)
    if plain is None:
        raise DecodeError(f"unknown BTF kind {kind}")
    return cast(t.BtfType, plain(value))
