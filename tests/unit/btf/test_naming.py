from __future__ import annotations

import pytest
from tests.unit.btf.shapes import ID, tasks

from trapline import btf as b
from trapline.btf.write import BtfBuilder
from trapline.errors import DecodeError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("task", "struct task"),
        ("task*", "struct task *"),
        ("name", "const char *"),
        ("user", "char *"),
        ("comm", "char[16]"),
        ("qualified", "struct task * const"),
        ("callback", "int (*)(struct task *, ...)"),
        ("task_func", "const char *wake_task(struct task *, u32)"),
        ("state", "enum state"),
        ("opaque*", "struct opaque *"),
        ("pid_t", "pid_t"),
        ("anonymous", "union {...}"),
    ],
)
def test_names_of_types(name: str, text: str) -> None:
    assert tasks().type_name(ID[name]) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("task", "struct task x"),
        ("task*", "struct task *x"),
        ("comm", "char x[16]"),
        ("qualified", "struct task * const x"),
        ("callback", "int (*x)(struct task *, ...)"),
    ],
)
def test_declarations(name: str, text: str) -> None:
    assert tasks().type_name(ID[name], "x") == text


def test_declarators_nest() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4)
    row = w.add_array(number, 3)
    matrix = w.add_array(row, 2)
    to_row = w.add_ptr(row)
    returns_pointer = w.add_ptr(w.add(b.FuncProto((), w.add_ptr(number))))
    returns_function = w.add(b.FuncProto((b.Param("", number),), returns_pointer))
    volatile = w.add(b.Volatile(w.add(b.Const(w.add(b.Const(number))))))
    restricted = w.add(b.Restrict(w.add_ptr(w.add_ptr())))
    btf = b.Btf(w.build())
    assert btf.type_name(matrix, "x") == "int x[2][3]"
    assert btf.type_name(to_row, "x") == "int (*x)[3]"
    assert btf.type_name(returns_pointer, "x") == "int * (*x)(void)"
    assert btf.type_name(returns_function, "x") == "int * (*x(int))(void)"
    assert btf.type_name(volatile, "x") == "volatile const int x"
    assert btf.type_name(restricted, "x") == "void ** restrict x"


def test_what_is_no_c_type_has_no_name() -> None:
    w = BtfBuilder()
    section = w.add(b.DataSec(".data", 0, ()))
    with pytest.raises(DecodeError, match="DataSec"):
        b.Btf(w.build()).type_name(section)
