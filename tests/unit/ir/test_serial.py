from __future__ import annotations

import binascii
import json
import struct
import time

import pytest

from trapline.errors import DecodeError
from trapline.ir import serial, spec, values


def sample(programs: int = 2) -> spec.ObjectSpec:
    key = values.TupleV(((0, values.IntV(4, False)), (8, values.StrV(16))), 24)
    return spec.ObjectSpec(
        source_name="stdin",
        source_text='BEGIN { printf("é\\n"); }',
        programs=tuple(
            spec.ObjectProgram(
                name=f"p{i}",
                type="KPROBE",
                instructions=bytes(range(256)) * 4,
                map_refs=(spec.MapRef(3, ".ring"), spec.MapRef(9, "@x", value=True)),
                kfunc_refs=(spec.KfuncRef(1, "bpf_x", weak=True),),
                subprograms=(spec.SubprogramInfo(0, "main"),),
                spans=tuple((j, j * 2, j * 2 + 5) for j in range(30)),
                attach_points=(
                    spec.AttachPoint(spec.KprobeAttach("do_nanosleep", offset=4), "kprobe:do_nanosleep", span=(0, 9)),
                    spec.AttachPoint(spec.KprobeMultiAttach(("a", "b"), cookies=(1, 2)), "kprobe:*", optional=True),
                ),
                label="kprobe:do_nanosleep",
                span=None,
            )
            for i in range(programs)
        ),
        maps=(
            spec.MapSpec(".ring", "RINGBUF", 0, 0, 1 << 22),
            spec.MapSpec("@x", "PERCPU_HASH", 24, 8, 4096, key=key, value=values.HistV(2), printed=True),
            spec.MapSpec(".rodata", "ARRAY", 4, 8, 1, initial=b"\x00\xffab", frozen=True),
            spec.MapSpec("o", "HASH_OF_MAPS", 4, 4, 1, inner=spec.MapSpec("i", "HASH", 4, 4, 1)),
        ),
        events=(
            spec.PrintfEvent("%d %s\n", (spec.Field(8, values.IntV(4)), spec.Field(16, values.StrV(16), "comm")), 32),
            spec.PrintValueEvent(
                spec.Field(8, values.RecordV((("a", 0, values.EnumV(4, False, "e", ((0, "A"), (1, "B")))),), 4, "r")),
                16,
            ),
            spec.ExitEvent(8, 16),
            spec.PrintMapElementEvent("@x", None, spec.Field(8, values.ArrayV(values.PtrV(), 4)), 40),
        ),
        faults=(spec.FaultSite("map_full", "map_update_elem", (3, 9)),),
        probe_names=("kprobe:do_nanosleep",),
        config=(("max_strlen", 64), ("str_trunc_trailer", ".."), ("print_maps_on_exit", False)),
        typed_events=True,
        extra=(("a", "b"),),
    )


def test_round_trip() -> None:
    item = sample()
    data = serial.encode_object(item)
    assert serial.decode_object(data) == item
    assert serial.encode_object(serial.decode_object(data)) == data


@pytest.mark.parametrize("kind", sorted(k.__name__ for k in values.Value.__args__))
def test_every_value_layout_is_known(kind: str) -> None:
    assert serial._reader("Value")  # compiles
    cls = getattr(values, kind)
    samples = {
        "IntV": values.IntV(8, False),
        "EnumV": values.EnumV(4, True, "x", ((-1, "M"),)),
        "StrV": values.StrV(7),
        "BufV": values.BufV(12),
        "StackV": values.StackV(True, 5, "perf"),
        "TimestampV": values.TimestampV("%H"),
        "NameV": values.NameV("errors"),
        "SeriesV": values.SeriesV(1000, 5, "avg"),
        "FlagsV": values.FlagsV(4, "gfp"),
        "ArrayV": values.ArrayV(values.IntV(1), 3),
        "TupleV": values.TupleV(((0, values.BoolV()),), 1),
        "RecordV": values.RecordV((("f", 0, values.BitsV(4, 3, 2, True)),), 4),
        "BitsV": values.BitsV(4, 0, 1, False),
        "LhistV": values.LhistV(-10, 10, 5),
    }
    item = samples.get(kind) or cls()
    assert serial.decode(serial.encode(item), cls) == item


def test_every_event_and_attach_is_readable() -> None:
    for union in (spec.Event, spec.Attach):
        for cls in union.__args__:
            for field in cls.__dataclass_fields__.values():
                assert serial._reader(str(field.type))


def test_functions_are_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        serial.encode(spec.ProgramSpec("p", "KPROBE", object()))  # type: ignore[arg-type]


def repack(plain: object, binary: bytes = b"") -> bytes:
    text = json.dumps(plain).encode()
    size = struct.pack("<I", len(text))
    return b"TLOS" + struct.pack("<II", 1, binascii.crc32(size + text + binary)) + size + text + binary


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TLOS",
        b"XXXX" + bytes(12),
        repack(None),
        repack([]),
        repack(["IntV"]),
        repack(["IntV", 8, 1]),
        repack(["IntV", True, True]),
        repack(["IntV", 8.0, True]),
        repack(["IntV", 8, True, 1]),
        repack(["StrV", 8]),
        repack({"IntV": 8}),
        b"TLOS" + struct.pack("<III", 1, binascii.crc32(struct.pack("<I", 99)), 99),
    ],
)
def test_malformed_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        serial.decode(data, values.IntV)


@pytest.mark.parametrize("place", [[0, 5], [-1, 2], [0], ["a", 1], "xx", [2, -1]])
def test_bytes_outside_of_the_binary_part(place: object) -> None:
    plain = ["MapSpec", "a", "HASH", 1, 1, 1, 0, None, None, place, False, None, False, False, ""]
    with pytest.raises(DecodeError):
        serial.decode(repack(plain, b"1234"), spec.MapSpec)
    plain[9] = [1, 3]
    assert serial.decode(repack(plain, b"1234"), spec.MapSpec).initial == b"234"


def test_deep_nesting_is_a_decode_error() -> None:
    text = b"[" * 200000
    size = struct.pack("<I", len(text))
    with pytest.raises(DecodeError):
        serial.decode(b"TLOS" + struct.pack("<II", 1, binascii.crc32(size + text)) + size + text, values.IntV)
    deep: object = ["IntV", 8, True]
    for _ in range(300):
        deep = ["ArrayV", deep, 1]
    serial.decode(repack(deep), values.ArrayV)


def test_every_corrupted_byte_is_found() -> None:
    data = serial.encode_object(sample(1))
    for i in range(0, len(data), 17):
        broken = bytearray(data)
        broken[i] ^= 0x41
        with pytest.raises(DecodeError):
            serial.decode_object(bytes(broken))
    for size in range(0, len(data), 101):
        with pytest.raises(DecodeError):
            serial.decode_object(data[:size])


def test_load_is_fast() -> None:
    data = serial.encode_object(sample())
    serial.decode_object(data)
    best = min(_timed(data) for _ in range(20))
    assert best < 0.002


def _timed(data: bytes) -> float:
    start = time.perf_counter()
    serial.decode_object(data)
    return time.perf_counter() - start
