from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.btf.compiler import complaints, layout_assertions
from tests.unit.btf.shapes import ID, sample_btf, tasks

from trapline import btf as b
from trapline.btf.header import generate_header, header_for_identifiers
from trapline.btf.write import BtfBuilder
from trapline.errors import DecodeError


def defined(text: str) -> set[str]:
    """Names of the structs, unions and enums that come with a body."""
    return set(re.findall(r"^(?:struct|union|enum) (\w+) \{", text, re.M))


def test_only_what_the_text_names_comes_in_full() -> None:
    text = header_for_identifiers(tasks(), {"task", "pid"})
    assert defined(text) == {"task", "state", "flags"}
    assert "struct mm;\n" in text
    assert complaints(text) == []


def test_members_pull_in_what_they_point_to() -> None:
    assert defined(header_for_identifiers(tasks(), {"task", "mm"})) == {"task", "state", "flags", "mm"}
    text = header_for_identifiers(tasks(), {"task", "mm", "exe_file"})
    assert defined(text) == {"task", "state", "flags", "mm", "file"}
    assert complaints(text + "unsigned int f(struct task *t) { return t->mm->exe_file->f_flags; }") == []


def test_enumerators_and_typedefs_are_found() -> None:
    assert defined(header_for_identifiers(tasks(), {"DEAD"})) == {"state"}
    text = header_for_identifiers(tasks(), {"pid_t"})
    assert text == "typedef int __kernel_pid_t;\ntypedef __kernel_pid_t pid_t;\n"
    assert header_for_identifiers(tasks(), {"nothing", "like", "it"}) == ""


def test_names_that_the_text_defines_are_renamed_everywhere() -> None:
    own = "struct mm { int own; }; enum { RUNNING = 7 };"
    rename = {"mm": "mm___btf", "RUNNING": "RUNNING___btf"}
    text = header_for_identifiers(tasks(), {"task", "mm"}, rename)
    assert "struct mm___btf *mm;" in text
    assert "RUNNING___btf = 0," in text
    assert not re.search(r"struct mm\b", text)
    assert complaints(text + own) == []
    assert complaints(header_for_identifiers(tasks(), {"task", "mm"}) + own) != []


def test_the_kernels_layout_is_kept() -> None:
    btf = tasks()
    ids = [ID[name] for name in ("task", "mm", "file", "never")]
    text = generate_header(btf, ids)
    assert complaints("\n".join([text, *layout_assertions(btf, ids)])) == []
    assert complaints('_Static_assert(sizeof(int) == 5, "wrong");') != []


def test_clangs_own_types_come_back() -> None:
    btf = sample_btf()
    ids = list(btf.ids(b.Struct))
    named = [i for i in ids if btf.name_of(i)]
    text = generate_header(btf, [*named, "wide"])
    assert complaints("\n".join([text, *layout_assertions(btf, named)])) == []
    assert complaints(text + 'enum color c = BLUE; _Static_assert(sizeof(enum wide) == 8, "");') == []


def test_types_with_one_tag_are_told_apart() -> None:
    w = BtfBuilder()
    number, long_ = w.add_int("int", 4), w.add_int("long int", 8)
    first = w.append(b.Struct("dup", 4, (b.Member("a", number, 0),)))
    second = w.append(b.Struct("dup", 8, (b.Member("b", long_, 0),)))
    alias = w.append(b.Typedef("dup", second))
    enums = [w.append(b.Enum(tag, 4, False, (b.Enumerator("SAME", n),))) for n, tag in enumerate(("one", "two", ""))]
    both = w.add_struct("both", 40, [("x", first, 0), ("y", alias, 8), ("e", enums[2], 16), ("z", second, 24)])
    btf = b.Btf(w.build())
    text = generate_header(btf, [both, *enums])
    assert complaints("\n".join([text, *layout_assertions(btf, [both])])) == []
    assert "struct dup___2 z;" in text


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_enums_keep_their_size(size: int) -> None:
    w = BtfBuilder()
    kind = b.Enum64 if size == 8 else b.Enum
    w.add(kind("sized", size, False, (b.Enumerator("ONE", 1),)))
    text = generate_header(b.Btf(w.build()), ["sized"])
    assert complaints(f'{text}_Static_assert(sizeof(enum sized) == {size}, "");') == []


@pytest.mark.parametrize("value", [-(1 << 63), -1, (1 << 63) - 1])
def test_enums_keep_their_values(value: int) -> None:
    w = BtfBuilder()
    w.add(b.Enum64("e", 8, True, (b.Enumerator("V", value),)))
    text = generate_header(b.Btf(w.build()), ["e"])
    expected = f"({value + 1}LL - 1)" if value < 0 else f"{value}LL"
    assert complaints(f'{text}_Static_assert(V == {expected}, "");') == []


def test_forward_only_enums_reserved_names_and_odd_integers() -> None:
    w = BtfBuilder()
    word = w.add_int("u128ish", 16)
    va_list = w.add(b.Typedef("__builtin_va_list", w.add_array(w.add_int("usize", 8), 3)))
    later = w.add(b.Enum("later", 4, False, ()))
    odd = w.add_struct(
        "odd", 64, [("a", word, 0), ("l", va_list, 16), ("e", later, 40), ("f", w.add(b.Float("f2", 2)), 44)]
    )
    btf = b.Btf(w.build())
    text = generate_header(btf, [odd])
    assert complaints("\n".join([text, *layout_assertions(btf, [odd])])) == []


def test_pointees_by_typedef_and_array_and_forward_declaration() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4)
    node = w.add_struct("node", 4, [("v", number, 0)])
    alias = w.add(b.Typedef("node_t", node))
    links = w.add_array(w.add_ptr(w.add_ptr(alias)), 4)
    fwd = w.append(b.Fwd("late"))
    w.append(b.Struct("late", 4, (b.Member("w", number, 0),)))
    w.add_struct("root", 40, [("links", links, 0), ("late", w.add_ptr(fwd), 32)])
    btf = b.Btf(w.build())
    assert defined(generate_header(btf, ["root"])) == {"root"}
    assert defined(generate_header(btf, ["root"], follow=lambda name: name == "links")) == {"root", "node"}
    assert defined(generate_header(btf, ["root"], follow=lambda name: True)) == {"root", "node", "late"}


def test_function_pointers_need_their_types_declared() -> None:
    text = generate_header(tasks(), ["task"])
    assert text.index("struct task;") < text.index("(*callback)(struct task *, ...)")


def test_a_struct_in_itself_is_malformed() -> None:
    w = BtfBuilder()
    w.append(b.Struct("own", 8, (b.Member("again", 1, 0),)))
    with pytest.raises(DecodeError):
        generate_header(b.Btf(w.build()), ["own"])


def test_overlapping_members_become_bytes() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4)
    over = w.add_struct("over", 8, [("a", number, 0), ("b", number, 2)])
    btf = b.Btf(w.build())
    text = generate_header(btf, [over])
    assert complaints(text + '_Static_assert(sizeof(struct over) == 8, "");') == []


@st.composite
def structs(draw: st.DrawFn) -> b.Btf:
    """A BTF with structs that nest, have gaps anywhere, bitfields, and sizes that alignment does not explain."""
    w = BtfBuilder()
    scalars = [w.add_int(name, size) for name, size in (("char", 1), ("short", 2), ("int", 4), ("long long", 8))]
    scalars += [w.add_ptr(), w.add_array(scalars[1], 3)]
    sizes = dict(zip(scalars, (1, 2, 4, 8, 8, 6), strict=True))
    for number in range(draw(st.integers(1, 4))):
        members: list[b.Member] = []
        bit = 0
        for position in range(draw(st.integers(0, 6))):
            kind = draw(st.sampled_from(sorted(sizes)))
            if draw(st.booleans()) and kind in scalars[:4]:
                bit += draw(st.integers(0, 9))
                width = draw(st.integers(1, 8 * sizes[kind]))
                members.append(b.Member(f"m{position}", kind, bit, width))
                bit += width
            else:
                bit = -(-bit // 8) * 8 + 8 * draw(st.sampled_from([0, 0, 1, 3, 4, 8]))
                natural = 8 * min(sizes[kind] & -sizes[kind] or 1, 8)
                if draw(st.booleans()):
                    bit = -(-bit // natural) * natural
                members.append(b.Member(f"m{position}", kind, bit))
                bit += 8 * sizes[kind]
        size = -(-bit // 8) + draw(st.sampled_from([0, 1, 4, 8]))
        sizes[w.append(b.Struct(f"s{number}", size, tuple(members)))] = size
    return b.Btf(w.build())


@settings(deadline=None)
@given(structs())
def test_any_layout_is_expressed_in_c(btf: b.Btf) -> None:
    ids = list(btf.ids(b.Struct))
    text = generate_header(btf, ids)
    assert complaints("\n".join([text, *layout_assertions(btf, ids)])) == []
