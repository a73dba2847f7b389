from trapline.bcc.layouts import format_layout
from trapline.frontends.bcc_c.result import ArrayC, FieldC, IntC, PointerC, RecordC, TableInfo, VoidC

U32, CHAR = IntC("unsigned int", 4, False), IntC("char", 1, True)
KEY = RecordC(
    "key_t",
    "struct",
    40,
    8,
    (
        FieldC("pid", U32, 0),
        FieldC("low", U32, 4, 3, 0),
        FieldC("high", U32, 4, 5, 3),
        FieldC("comm", ArrayC(CHAR, 16), 8),
        FieldC("", RecordC("", "union", 8, 8, (FieldC("p", PointerC("struct sock *"), 0),)), 24),
        FieldC("state", IntC("unsigned int", 4, False, "states"), 32),
    ),
)


def test_a_struct():
    info = TableInfo("t", "hash", "HASH", KEY, U32, 8)
    assert format_layout(info, 3, 1, sizes=False).splitlines() == [
        "Layout of BPF map t (type HASH, FD 3, ID 1):",
        "  struct key_t {",
        "    unsigned int pid;",
        "    unsigned int low:3;",
        "    unsigned int high:5;",
        "    char[16] comm;",
        "    union {",
        "      struct sock * p;",
        "    };",
        "    enum states state;",
        "  } key;",
        "  unsigned int value;",
    ]


def test_sizes():
    info = TableInfo("t", "hash", "HASH", KEY, VoidC(), 8)
    lines = format_layout(info, 3, 0, sizes=True).splitlines()
    assert lines[2:5] == [
        "    [0 +4] unsigned int pid;",
        "    [4,0 +3 bit] unsigned int low:3;",
        "    [4,3 +5 bit] unsigned int high:5;",
    ]
    assert lines[6:8] == ["    [24 +8] union {", "      [24 +8] struct sock * p;"]
