import pytest

from trapline.bcc.usdt import USDT, USDTException, attach_contexts, check_contexts, write_text
from trapline.debuginfo.usdt import parse_operands
from trapline.engine.user_probes import UserProbe, UserProbePlace
from trapline.frontends.bcc_c.usdt_readers import argument_type, c_register, write_readers


def place(offset, arguments, semaphore=0):
    return UserProbePlace(
        offset, semaphore, 0x1000 + offset, semaphore and 0x2000 + semaphore, parse_operands(arguments, "x86_64")
    )


PROBES = [
    UserProbe("/bin/app", "app", "call", (place(0x10, "4@%edi 8@$3"), place(0x20, "-8@-16(%rbp) 8@$3", 8))),
    UserProbe("/bin/app", "app", "end", (place(0x30, ""),)),
    UserProbe("/lib/libx.so", "x", "call", (place(0x40, "-2@(%rsi,%rcx,2)"),)),
]


class Finder:
    def process_probes(self, pid):
        return PROBES if pid == 7 else []

    def file_probes(self, path):
        return PROBES[:2]


def make(pid=7):
    return USDT(pid=pid, finder=Finder())


def test_a_probe_is_found_by_its_names():
    usdt = make()
    usdt.enable_probe("call", "on_call")
    usdt.enable_probe(b"x:call", b"on_x")
    assert usdt.enumerate_active_probes() == [
        (b"/bin/app", b"on_call", 0x1010, 7),
        (b"/bin/app", b"on_call", 0x1020, 7),
        (b"/lib/libx.so", b"on_x", 0x1040, 7),
    ]


def test_one_function_at_a_probe():
    usdt = make()
    usdt.enable_probe("call", "f")
    usdt.enable_probe("call", "f")
    with pytest.raises(USDTException, match="Failed to enable USDT probe 'call'") as caught:
        usdt.enable_probe("call", "g")
    assert caught.value.hint == "f is enabled there already"


def test_similar_probes_are_named():
    with pytest.raises(USDTException) as caught:
        make().enable_probe("app:cal", "f")
    assert caught.value.hint == "there are: call"


def test_places_are_told_apart_by_their_arguments_over_all_contexts():
    first, second = make(), make()
    first.enable_probe("app:call", "f")
    second.enable_probe("x:call", "f")
    attached = []
    attach_contexts([first, second], attached.append, ignore_pid=False)
    assert [(a.offset, a.cookie, a.pid, a.semaphore) for a in attached] == [
        (0x10, 0, 7, 0),
        (0x20, 1, 7, 8),
        (0x40, 2, 7, 0),
    ]
    text = write_text([first, second])
    assert text.count("_bpf_readarg_f_1(") == 1
    attached.clear()
    attach_contexts([first], attached.append, ignore_pid=True)
    assert {a.pid for a in attached} == {-1}


def test_argument_types():
    usdt = make()
    assert usdt.get_probe_arg_ctype("app:call", 0) == "int64_t"
    assert usdt.get_probe_arg_ctype("app:call", 1) == "uint64_t"
    assert usdt.get_probe_arg_ctype("x:call", 0) == "int16_t"
    with pytest.raises(USDTException, match="no argument 2"):
        usdt.get_probe_arg_ctype("app:call", 2)


def test_where_arguments_are():
    probe = make().enumerate_probes()[0]
    assert (probe.num_locations, probe.num_arguments, str(probe)) == (2, 2, "app:call [sema 0x0]")
    shown = [str(probe.get_location(i).get_argument(j)) for i in (0, 1) for j in (0, 1)]
    assert shown == [
        "4 unsigned bytes @ di",
        "8 unsigned bytes @ 3",
        "8 signed   bytes @ *(bp - 16)",
        "8 unsigned bytes @ 3",
    ]
    indexed = make().enumerate_probes()[2].get_location(0).get_argument(0)
    assert str(indexed) == "2 signed   bytes @ *(si + 0 + cx * 2)"
    assert (indexed.scale, indexed.base_register_name, indexed.deref_offset) == (2, b"si", 0)
    assert not hasattr(indexed, "constant")
    with pytest.raises(USDTException, match="location 2"):
        probe.get_location(2)


def test_a_program_comes_before_a_library(tmp_path, monkeypatch):
    program = tmp_path / "c"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    asked = []

    class Recorder(Finder):
        def file_probes(self, path):
            asked.append(path)
            return []

    USDT(path="c", finder=Recorder())
    program.unlink()
    USDT(path="c", finder=Recorder())
    assert asked[0] == str(program)
    assert "libc" in asked[1]


def test_what_is_no_context():
    with pytest.raises(Exception, match="takes USDT objects, not int"):
        check_contexts([3])
    with pytest.raises(USDTException, match="no such process"):
        USDT(pid=2**22 + 5, finder=Finder())


def test_readers():
    forms = [parse_operands("-4@%ah 8@-8(%rbp,%rax,4)", "x86_64"), parse_operands("4@%bl", "x86_64")]
    text = write_readers("f", forms)
    assert "if (place == 0) {\n        value = (s32)(ctx->ax >> 8);" in text
    assert "else if (place == 1) {\n        value = (u32)ctx->bx;" in text
    assert "(void *)(-8LL + ctx->bp + ctx->ax * 4)" in text
    assert "place == 1) {\n        return -1;" in text
    assert write_readers("f", [()]) == ""
    assert "return -1;" in write_readers("f", [parse_operands("8f@%xmm0", "x86_64")])


def test_registers_and_types():
    assert [c_register(name) for name in ("di", "x3", "fp", "lr", "sp")] == [
        "di",
        "regs[3]",
        "regs[29]",
        "regs[30]",
        "sp",
    ]
    assert argument_type(parse_operands("-4@%edi 1@%al", "x86_64")) == "int32_t"
