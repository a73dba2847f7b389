import pytest

from trapline.bcc.libraries import find_binary, parse_linker_cache
from trapline.bcc.names import (
    find_syscall_prefix,
    fix_syscall_name,
    kprobe_event_name,
    to_bytes,
    to_text,
    uprobe_event_name,
)
from trapline.bcc.probes import filter_kprobe_functions, filter_tracepoints, generate_auto_includes
from trapline.bcc.strcmp import StrcmpRewrite
from trapline.bcc.utils import ArgString, parse_cpu_list, printb


def test_text_and_bytes_round_trip():
    assert to_text(b"\xff") == "\udcff"
    assert to_bytes(to_text(b"\xff")) == b"\xff"
    assert to_bytes(b"x") == b"x"


def test_syscall_prefix():
    assert find_syscall_prefix({"__x64_sys_bpf"}.__contains__) == "__x64_sys_"
    assert find_syscall_prefix(lambda name: False) == "sys_"


@pytest.mark.parametrize("name", ["sys_read", "__x64_sys_read", "__arm64_sys_read", "__ia32_compat_sys_read"])
def test_fix_syscall_name(name):
    assert fix_syscall_name(name, lambda: "__x64_sys_") == "__x64_sys_read"


def test_fix_leaves_others_alone():
    assert fix_syscall_name("do_nanosleep", lambda: pytest.fail("all symbols were read for nothing")) == "do_nanosleep"


def test_event_names():
    assert kprobe_event_name("do_x.isra.0", retprobe=False) == "p_do_x_isra_0"
    assert kprobe_event_name("f", retprobe=True) == "r_f"
    assert kprobe_event_name("f", retprobe=False, offset=16) == "p_f_0x10"
    assert uprobe_event_name("/lib/libc.so.6", 0x10, -1, retprobe=False) == "p__lib_libc_so_6_0x10"
    assert uprobe_event_name("/lib/libc.so.6", 0x10, 9, retprobe=True) == "r__lib_libc_so_6_0x10_9"


def test_function_patterns_match_completely_and_hide_cold_code():
    names = ["vfs_read", "vfs_read.cold", "vfs_readv", "vfs_read", "perf_read"]
    assert filter_kprobe_functions(b"vfs_read", names) == [b"vfs_read"]
    assert filter_kprobe_functions(".*read.*", names) == [b"vfs_read", b"vfs_readv"]


def test_tracepoint_patterns_match_at_the_start():
    points = [("sched", "sched_switch"), ("block", "block_rq_issue")]
    assert filter_tracepoints("sched:.*", points) == [b"sched:sched_switch"]
    assert filter_tracepoints("block", points) == [b"block:block_rq_issue"]


def test_auto_includes():
    assert generate_auto_includes(["struct bio *b", "jiffies"]) == "#include <linux/blkdev.h>\n"


def test_cpu_lists():
    assert parse_cpu_list("0-2,5\n") == [0, 1, 2, 5]
    assert parse_cpu_list("\n") == []


def test_arg_string():
    assert bytes(ArgString("ä")) == "ä".encode()
    assert str(ArgString(b"x")) == "x"


def test_printb(capfdbinary):
    printb(b"\xff\xfe")
    printb(b"x", nl=0)
    assert capfdbinary.readouterr().out == b"\xff\xfe\nx"


def build_cache(entries):
    head = b"glibc-ld.so.cache1.1"
    strings = b""
    base = 48 + 24 * len(entries)
    table = b""
    for flags, name, path in entries:
        table += flags.to_bytes(4, "little")
        table += (base + len(strings)).to_bytes(4, "little")
        strings += name + b"\0"
        table += (base + len(strings)).to_bytes(4, "little")
        strings += path + b"\0"
        table += bytes(12)
    return head + len(entries).to_bytes(4, "little") + len(strings).to_bytes(4, "little") + bytes(20) + table + strings


def test_linker_cache():
    cache = build_cache([(0x303, b"libc.so.6", b"/lib64/libc.so.6"), (0x3, b"libm.so.6", b"/lib32/libm.so.6")])
    assert parse_linker_cache(cache, "x86_64") == {"libc.so.6": "/lib64/libc.so.6"}
    assert parse_linker_cache(cache[:60], "x86_64") == {}
    assert parse_linker_cache(b"", "x86_64") == {}


def test_find_binary_in_path(tmp_path, monkeypatch):
    tool = tmp_path / "mytool"
    tool.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary("mytool") is None
    tool.chmod(0o755)
    assert find_binary("mytool") == str(tool)
    assert find_binary(str(tmp_path / "none")) is None


def test_strcmp_becomes_a_function_that_reads_where_the_pointer_leads():
    done = StrcmpRewrite.rewrite_expr('(STRCMP("ab", arg1)) && STRCMP("c)", $retval)', False, "", {"arg1"}, "/**/", 3)
    assert done["expr"] == '(streq_3("ab", arg1)) && streq_4("c)", $retval)'
    assert done["probeid"] == 5
    first, second = done["streq_functions"].split("streq_4")
    assert first.startswith("/**/")
    assert 'needle[] = "ab";' in first and "probe_read_user(" in first
    assert 'needle[] = "c)";' in second and "probe_read_kernel(" in second


def test_strcmp_takes_bytes_and_reads_user_memory_for_user_probes():
    done = StrcmpRewrite.rewrite_expr('STRCMP("{0x17, 0}", arg1)', True, "c", (), "", 0)
    assert "needle[] = {0x17, 0};" in done["streq_functions"]
    assert "probe_read_user(" in done["streq_functions"]
