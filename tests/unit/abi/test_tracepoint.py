"""The parser of tracepoint format files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trapline.abi.tracepoint import parse_tracepoint_format
from trapline.errors import DecodeError

SWITCH = """name: sched_switch
ID: 316
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;

print fmt: "prev_comm=%s", REC->prev_comm
"""


def test_a_real_format() -> None:
    found = parse_tracepoint_format(SWITCH)
    assert (found.name, found.id, found.size) == ("sched_switch", 316, 40)
    assert [f.name for f in found.fields if not f.common] == ["prev_comm", "prev_pid", "prev_state"]
    comm = found.field("prev_comm")
    assert comm is not None
    assert (comm.type, comm.array, comm.offset, comm.size, comm.signed) == ("char", 16, 8, 16, False)
    state = found.field("prev_state")
    assert state is not None and state.signed and state.array is None
    assert found.field("nothing") is None
    assert found.print_format.startswith('"prev_comm')


@pytest.mark.parametrize(
    ("declaration", "type", "name", "array", "data_loc", "relative", "text"),
    [
        ("__data_loc char[] filename", "char", "filename", 0, True, False, "__data_loc char[] filename"),
        ("__rel_loc u32[] words", "u32", "words", 0, True, True, "__rel_loc u32[] words"),
        ("const char * s", "const char *", "s", None, False, False, "const char * s"),
        ("struct page *page", "struct page *", "page", None, False, False, "struct page * page"),
        ("unsigned long args[6]", "unsigned long", "args", 6, False, False, "unsigned long args[6]"),
        ("char comm[TASK_COMM_LEN]", "char", "comm", 8, False, False, "char comm[8]"),
        ("__u8 addr[16]", "__u8", "addr", 16, False, False, "__u8 addr[16]"),
        ("enum zone_type zone", "enum zone_type", "zone", None, False, False, "enum zone_type zone"),
    ],
)
def test_declarations(
    declaration: str, type: str, name: str, array: int | None, data_loc: bool, relative: bool, text: str
) -> None:
    (field,) = parse_tracepoint_format(
        f"name: x\nID: 1\n\tfield:{declaration};\toffset:8;\tsize:8;\tsigned:0;\n"
    ).fields
    assert (field.type, field.name, field.array) == (type, name, array)
    assert (field.data_loc, field.relative) == (data_loc, relative)
    assert field.declaration == text


@pytest.mark.parametrize(
    "text", ["", "name: x\n", "ID: 1\n", "name: x\nID: y\n", "name: x\nID: 1\n\tfield:int x;\toffset:a;\tsize:4;\n"]
)
def test_malformed_formats(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_tracepoint_format(text)


@given(st.text(alphabet="name: ID1field:int x;\toffsize49[]*\n", max_size=200))
def test_no_other_error_escapes(text: str) -> None:
    with contextlib.suppress(DecodeError):
        parse_tracepoint_format(text)
