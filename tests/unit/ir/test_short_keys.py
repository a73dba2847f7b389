"""Keys with long strings are cut and restored, and programs choose the map by the key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir import values as v
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.short_keys import FRAMES, SHORT, cut_of
from trapline.ir.spec import MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import I64, Ptr, Space

PAIR = v.TupleV(((0, v.IntV(8)), (8, v.StrV(200)), (208, v.TupleV(((0, v.StrV(1024)), (1024, v.IntV(4))), 1028))), 1236)


def make_key(number: int, first: str, second: str, last: int, bucket: int) -> bytes:
    texts = first.encode().ljust(200, b"\0") + second.encode().ljust(1024, b"\0")
    return number.to_bytes(8, "little") + texts + last.to_bytes(4, "little") + bucket.to_bytes(4, "little")


@given(st.integers(0, 2**64 - 1), *[st.text("ab", max_size=130)] * 2, st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_what_is_cut_comes_back(number: int, first: str, second: str, last: int, bucket: int) -> None:
    key = make_key(number, first, second, last, bucket)
    cut = cut_of(PAIR, len(key))
    assert cut is not None and cut.short_size == 8 + SHORT + SHORT + 4 + 4
    short = cut.shorten(key)
    assert (short is None) == (len(first) >= SHORT or len(second) >= SHORT)
    assert short is None or (len(short) == cut.short_size and cut.lengthen(short) == key)


def test_what_is_behind_a_cut_stays_aligned() -> None:
    for size in range(128, 160):
        cut = cut_of(v.StrV(size), size)
        assert cut is not None and (size - cut.short_size) % 8 == 0 and cut.short_size >= SHORT


@given(st.integers(0, 127), st.integers(0, 2**32 - 1), st.integers(1, 2**64 - 1))
def test_stacks_are_cut_by_their_number_of_frames(frames: int, pid: int, address: int) -> None:
    layout = v.StackV(kernel=False)
    words = [pid | frames << 32, *[address] * frames, *[0] * (127 - frames)]
    key = b"".join(word.to_bytes(8, "little") for word in words)
    cut = cut_of(v.TupleV(((0, layout), (1024, v.IntV(8))), 1032), 1032)
    assert cut is not None and cut.short_size == 8 + 8 * FRAMES + 8
    short = cut.shorten(key + b"bucket..")
    assert (short is None) == (frames > FRAMES) and (short is None or cut.lengthen(short) == key + b"bucket..")
    assert cut_of(v.StackV(kernel=True, limit=40), 328) is None
    wide = cut_of(v.StackV(kernel=False, mode="build_id"), 8 + 32 * 127)
    assert wide is not None and wide.short_size == 8 + 32 * FRAMES


def test_short_strings_and_other_layouts_are_not_cut() -> None:
    for layout in (v.StrV(127), v.IntV(8), v.BufV(1024), None, v.ArrayV(v.StrV(200), 2)):
        assert cut_of(layout, 2000) is None


def make_module(*, iterated: bool = False, allowed: bool = True) -> ModuleSpec:
    b = Builder("p")
    key = b.local(1024, "key", zero=True)
    with b.when(b.compare("eq", b.map_lookup("@", key), b.null(Space.MAP))):
        b.map_update("@", key, b.variable(b.i64(1)))
    b.map_delete("@", key)
    count = b.kfunc("bpf_map_sum_elem_count", b.map("@"))
    subprograms: tuple[f.Function, ...] = ()
    if iterated:
        step = Builder("step", (Ptr(Space.UNKNOWN),) * 4, I64)
        step.ret(step.i64(0))
        subprograms = (step.finish(),)
        b.helper(
            "for_each_map_elem", b.map("@"), b.function_address("step"), b.to_pointer(b.i64(0), Space.STACK), b.i64(0)
        )
    b.ret(count)
    map_ = MapSpec("@", "HASH", 1024, 8, 4096, key=v.StrV(1024), value=v.IntV(8), short=".short@" if allowed else "")
    return ModuleSpec("stdin", "", (ProgramSpec("p", "KPROBE", b.finish(), subprograms=subprograms),), maps=(map_,))


def accessed(module: ModuleSpec) -> list[tuple[str, str]]:
    """Return each access to a map in the order of the operations: what, and to which."""
    return [
        (op.name, used.name)
        for op in module.programs[0].function.ops()
        for used in op.operands()
        if isinstance(op, f.Helper | f.Kfunc) and isinstance(used, f.MapAddress) and used.name != ".scratch"
    ]


def test_every_access_chooses() -> None:
    module = passes.run(make_module())
    check_module(module)
    names = ["map_lookup_elem", "map_update_elem", "map_delete_elem"]
    both = [(name, map_) for name in names for map_ in (".short@", "@")]
    assert sorted(accessed(module)) == sorted(
        [*both, ("bpf_map_sum_elem_count", "@"), ("bpf_map_sum_elem_count", ".short@")]
    )
    assert {m.name: m.key_size for m in module.maps if m.name != ".scratch"} == {"@": 1024, ".short@": SHORT}


def test_maps_that_are_walked_or_not_allowed_stay_whole() -> None:
    for given_module in (make_module(iterated=True), make_module(allowed=False)):
        module = passes.run(given_module)
        check_module(module)
        assert {name for _, name in accessed(module)} == {"@"}
        assert [m.short for m in module.maps if m.name == "@"] == [""]
