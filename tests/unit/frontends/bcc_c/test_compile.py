from __future__ import annotations

import pytest
from tests.unit.frontends.bcc_c.fixture import FixtureTarget, compile_text

from trapline.btf import Btf
from trapline.btf.write import BtfBuilder
from trapline.errors import NoSuchProbeError, ParseError, SemanticError, UnsupportedError
from trapline.frontends.bcc_c import result as r
from trapline.frontends.bcc_c.compile import compile_c
from trapline.frontends.bcc_c.result import AutoAttach
from trapline.ir import function as f
from trapline.ir.printer import format_module
from trapline.ir.spec import ProgramSpec
from trapline.ir.types import VOID
from trapline.source import Source

U32 = r.IntC("unsigned int", 4, False)
U64 = r.IntC("unsigned long long", 8, False)
CHAR = r.IntC("char", 1, True)


def program(text: str, name: str | None = None, *flags: str) -> ProgramSpec:
    programs = {p.name: p for p in compile_text(text, *flags).module.programs}
    return programs[name] if name else next(iter(programs.values()))


def helpers(spec: ProgramSpec) -> list[str]:
    return [op.name for op in spec.function.ops() if isinstance(op, f.Helper)]


def test_hello() -> None:
    text = r"""
    int kprobe__do_nanosleep(struct pt_regs *ctx) {
        char comm[16];
        bpf_get_current_comm(&comm, sizeof(comm));
        bpf_trace_printk("executing program: %s\n", comm);
        return 0;
    }
    """
    result = compile_text(text)
    assert helpers(result.module.programs[0]) == ["get_current_comm", "trace_printk"]
    assert result.programs["kprobe__do_nanosleep"].attach == AutoAttach("kprobe", "do_nanosleep")
    assert result.module.license == "GPL"


@pytest.mark.parametrize(
    ("name", "type_", "attach"),
    [
        ("kretprobe__f", "KPROBE", AutoAttach("kretprobe", "f")),
        ("raw_tracepoint__sched_switch", "RAW_TRACEPOINT", AutoAttach("raw_tracepoint", "sched_switch")),
        ("kfunc__vmlinux__vfs_read", "TRACING", AutoAttach("kfunc", "vfs_read")),
        ("kretfunc__btrfs__btrfs_sync", "TRACING", AutoAttach("kretfunc", "btrfs_sync", "btrfs")),
        ("lsm__bpf", "LSM", AutoAttach("lsm", "bpf")),
        ("kmod_ret__update_socket", "TRACING", AutoAttach("fmod_ret", "update_socket", implicit=False)),
        ("do_entry", "KPROBE", None),
    ],
)
def test_names_say_where_programs_attach(name: str, type_: str, attach: AutoAttach | None) -> None:
    info = compile_text(f"int {name}(void *ctx) {{ return 0; }}").programs[name]
    assert (info.type, info.attach) == (type_, attach)


def test_options_of_capable_are_those_of_the_headers() -> None:
    # Scripts tell by CAP_OPT_NONE what the fourth argument of cap_capable means.
    assert compile_text("""
    #ifdef CAP_OPT_NONE
    enum { NOAUDIT = CAP_OPT_NOAUDIT, INSETID = CAP_OPT_INSETID };
    _Static_assert(NOAUDIT == 2 && INSETID == 4, "of linux/security.h");
    int f(void *ctx) { return 0; }
    #endif
    """).programs


def test_tables() -> None:
    result = compile_text(
        """
        struct key_t { u32 pid; char comm[16]; u64 when : 40; };
        BPF_HASH(counts);
        BPF_HASH(by_pid, u32);
        BPF_HASH(start, struct key_t, u64, 77);
        BPF_ARRAY(slots, u32, 3);
        BPF_HISTOGRAM(dist);
        BPF_HISTOGRAM(keyed, struct key_t);
        BPF_STACK_TRACE(stacks, 1000);
        BPF_RINGBUF_OUTPUT(ring, 8);
        BPF_PERF_OUTPUT(events);
        BPF_TABLE("lru_hash", u32, u64, recent, 100);
        BPF_F_TABLE("hash", u32, u64, lazy, 9, BPF_F_NO_PREALLOC);
        BPF_QUEUE(queue, u64, 12);
        BPF_PERCPU_ARRAY(per_cpu, u64, 1);
        BPF_TABLE_PINNED("hash", u32, u64, pinned, 5, "/sys/fs/bpf/x");
        """
    )
    shapes = {t.name: (t.kind, t.map_type, t.max_entries, t.flags) for t in result.tables.values()}
    assert shapes == {
        "counts": ("hash", "HASH", 10240, 0),
        "by_pid": ("hash", "HASH", 10240, 0),
        "start": ("hash", "HASH", 77, 0),
        "slots": ("array", "ARRAY", 3, 0),
        "dist": ("array", "ARRAY", 64, 0),
        "keyed": ("hash", "HASH", 64, 0),
        "stacks": ("stacktrace", "STACK_TRACE", 1024, 0),
        "ring": ("ringbuf", "RINGBUF", 8 * 4096, 0),
        "events": ("perf_output", "PERF_EVENT_ARRAY", 0, 0),
        "recent": ("lru_hash", "LRU_HASH", 100, 0),
        "lazy": ("hash", "HASH", 9, 1),
        "queue": ("queue", "QUEUE", 12, 0),
        "per_cpu": ("percpu_array", "PERCPU_ARRAY", 1, 0),
        "pinned": ("hash", "HASH", 5, 0),
    }
    assert (result.tables["pinned"].scope, result.tables["pinned"].pinned) == ("pinned", "/sys/fs/bpf/x")
    assert (result.tables["by_pid"].key, result.tables["by_pid"].leaf) == (U32, U64)
    fields = (
        r.FieldC("pid", U32, 0),
        r.FieldC("comm", r.ArrayC(CHAR, 16), 4),
        r.FieldC("when", U64, 24, bits=40, shift=0),
    )
    assert result.tables["start"].key == r.RecordC("key_t", "struct", 32, 8, fields)
    sizes = {m.name: (m.key_size, m.value_size) for m in result.module.maps}
    assert sizes["start"] == (32, 8)
    assert sizes["ring"] == (0, 0)
    assert sizes["queue"] == (0, 8)
    assert sizes["stacks"] == (4, 1016)


def test_events_have_the_type_that_is_sent() -> None:
    result = compile_text(
        """
        struct data_t { u32 pid; };
        BPF_PERF_OUTPUT(events);
        BPF_RINGBUF_OUTPUT(ring, 1);
        int probe(struct pt_regs *ctx) {
            struct data_t data = {};
            events.perf_submit(ctx, &data, sizeof(data));
            struct data_t *slot = ring.ringbuf_reserve(sizeof(struct data_t));
            if (!slot) return 0;
            slot->pid = 1;
            ring.ringbuf_submit(slot, 0);
            return 0;
        }
        """
    )
    expected = r.RecordC("data_t", "struct", 4, 4, (r.FieldC("pid", U32, 0),))
    assert result.tables["events"].event == expected
    assert result.tables["ring"].event == expected


def test_parameters_come_from_registers() -> None:
    spec = program("int probe(struct pt_regs *ctx, int unused, char *name) { return name[3]; }")
    offsets = [op.constant for op in spec.function.ops() if isinstance(op, f.Offset)]
    assert offsets == [104, 3]  # si, then the element


def test_system_call_parameters_are_read_from_the_wrapped_registers() -> None:
    spec = program("int syscall__open(struct pt_regs *ctx, int dfd, char *name) { return dfd; }")
    text = format_module(compile_text("int syscall__open(struct pt_regs *ctx, int dfd) { return dfd; }").module)
    assert "ptr<kernel>" in text
    assert [op.constant for op in spec.function.ops() if isinstance(op, f.Offset)] == [112, 112]


def test_function_arguments_of_a_trampoline_come_from_its_array() -> None:
    text = "KFUNC_PROBE(vfs_read, struct file *file, char *buf, u32 count) { return file->f_flags + count; }"
    spec = program(text)
    assert spec.name == "kfunc__vmlinux__vfs_read"
    assert (spec.type, spec.expected_attach) == ("TRACING", "TRACE_FENTRY")
    assert "ptr<btf> = load" in format_module(compile_text(text).module)


def test_tracepoint_arguments() -> None:
    text = """
    TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
        char name[16];
        TP_DATA_LOC_READ_CONST(name, name, 16);
        return args->dfd + args->port + args->comm[1] + (args->data_loc_name & 0xffff);
    }
    """
    spec = program(text)
    assert spec.name == "tracepoint__syscalls__sys_enter_openat"
    loads = {
        op.pointer.constant for op in spec.function.ops() if isinstance(op, f.Load) and isinstance(op.pointer, f.Offset)
    }
    assert {16, 48, 52} <= loads


def test_unknown_tracepoints_are_named() -> None:
    with pytest.raises(NoSuchProbeError, match="sched:nothing"):
        compile_text("TRACEPOINT_PROBE(sched, nothing) { return 0; }")


def test_kernel_headers_are_empty_and_types_come_from_btf() -> None:
    text = """
    #include <uapi/linux/ptrace.h>
    #include <linux/sched.h>
    #include <net/sock.h>
    #include "linux/fs.h"
    int probe(struct pt_regs *ctx) {
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        return task->mm->map_count + task->sched_reset + KNOWN;
    }
    """
    notes = [op.note for op in program(text).function.ops() if isinstance(op, f.Offset)]
    assert "task_struct.mm" in notes
    assert "mm_struct.map_count" in notes
    assert "task_struct.sched_reset" in notes


def test_own_definitions_win_over_the_kernels() -> None:
    text = """
    struct nameidata { u64 own; };
    enum mine { UNKNOWN = 9 };
    int probe(struct pt_regs *ctx, struct nameidata *n, struct file *file) {
        return n->own + UNKNOWN + file->f_flags;
    }
    """
    assert program(text).name == "probe"


def test_definitions_from_the_command_line() -> None:
    spec = program("int probe(void *ctx) { return LIMIT; }", None, "-DLIMIT=41")
    assert any(isinstance(op, f.Const) and op.value == 41 for op in spec.function.ops())


def test_increment_inserts_only_into_plain_hashes() -> None:
    text = "BPF_HASH(a, u32); BPF_PERCPU_HASH(b, u32); int probe(void *ctx) {{ {}.increment(1); return 0; }}"
    assert helpers(program(text.format("a"))) == ["map_lookup_elem", "map_update_elem"]
    assert helpers(program(text.format("b"))) == ["map_lookup_elem"]


def test_lookup_or_init_leaves_the_function() -> None:
    text = "BPF_HASH(h, u32); int probe(void *ctx) { u32 k = 1; u64 z = 0; u64 *v = h.%s(&k, &z); %s return 7; }"
    with_return = program(text % ("lookup_or_init", "(*v)++;"))
    without = program(text % ("lookup_or_try_init", "if (v) (*v)++;"))
    wanted = ["map_lookup_elem", "map_update_elem", "map_lookup_elem"]
    assert helpers(with_return) == helpers(without) == wanted


def test_usdt_readers_are_found_by_the_program_that_uses_them() -> None:
    text = """
    static inline int _bpf_readarg_on_start_2(struct pt_regs *ctx, void *dest, u64 len)
    { *(u64 *)dest = ctx->di; return 0; }
    int on_start(struct pt_regs *ctx) { u64 value = 0; bpf_usdt_readarg(2, ctx, &value); return value; }
    """
    assert 112 in [op.constant for op in program(text).function.ops() if isinstance(op, f.Offset)]


def test_clang_errors_keep_the_lines_of_the_script() -> None:
    with pytest.raises(ParseError) as caught:
        compile_text("#include <linux/sched.h>\nint probe(void *ctx) {\n    return missing;\n}\n")
    (diagnostic,) = caught.value.diagnostics
    assert str(caught.value).startswith("test.c:3:12-19: ERROR: use of undeclared identifier 'missing'")
    assert "#define" in str(caught.value)
    assert diagnostic.message


def test_errors_in_text_that_is_not_ascii() -> None:
    with pytest.raises(ParseError) as caught:
        compile_text("/* größer → */ int probe(void *ctx) { return missing; }")
    assert "return missing" in str(caught.value).splitlines()[1]
    assert str(caught.value).splitlines()[2].index(
        "~"
    ) == "/* größer → */ int probe(void *ctx) { return missing; }".index("missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int probe(void *ctx) { double d = 1; return d; }", "'double' cannot be used"),
        ("int probe(void *ctx) { int (*g)(int) = 0; return g(1); }", "function pointer"),
        ('int probe(void *ctx) { asm volatile("r0 = 1"); return 0; }', "inline assembler"),
        ("static int f(int n) { return n ? f(n - 1) : 0; } int probe(void *ctx) { return f(3); }", "calls itself"),
        ("int probe(void *ctx, u64 n) { char b[8]; __builtin_memset(b, 0, n); return b[0]; }", "must be a constant"),
        ('int probe(void *ctx) { bpf_trace_printk("%d", 1, 2, 3, 4); return 0; }', "at most 3 values"),
        ("BPF_ARRAY(a, u64, 1); int probe(void *ctx) { a.ringbuf_discard(0, 0); return 0; }", "has no method"),
    ],
)
def test_what_has_no_lowering_is_named(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        compile_text(text)
    assert "test.c:1:" in str(caught.value)


def test_maps_that_make_no_sense() -> None:
    with pytest.raises(SemanticError, match="'heap' is not a kind of map"):
        compile_text('BPF_TABLE("heap", u32, u32, t, 1);')
    with pytest.raises(SemanticError, match="power of two"):
        compile_text("BPF_RINGBUF_OUTPUT(ring, 3);")


def test_config_options_come_from_the_kernel_and_unknown_ones_are_reported() -> None:
    text = "#ifdef CONFIG_ODD\nint odd(void *ctx) { return 0; }\n#endif\nint probe(void *ctx) { return 0; }"
    known = compile_text(text, target=FixtureTarget(config={"CONFIG_ODD": "y"}))
    assert set(known.programs) == {"odd", "probe"}
    unset = compile_text(text, target=FixtureTarget(config={"CONFIG_ODD": ""}))
    assert set(unset.programs) == {"probe"}
    assert not unset.diagnostics
    (warning,) = compile_text(text).diagnostics
    assert "CONFIG_ODD" in warning.message


def test_static_data_and_licence() -> None:
    result = compile_text(
        """
        #define BPF_LICENSE Dual BSD/GPL
        static const u16 table[4] = { 1, [2] = 0x0302 };
        static u32 counter = 5;
        int probe(void *ctx) { u32 i = bpf_get_prandom_u32() & 3; counter++; return table[i]; }
        """
    )
    assert result.module.license == "Dual BSD/GPL"
    maps = {m.name: m for m in result.module.maps}
    assert maps[".rodata"].initial == bytes([1, 0, 0, 0, 2, 3, 0, 0])
    assert maps[".rodata"].frozen
    assert maps[".data"].initial == bytes([5, 0, 0, 0])


def test_keys_are_zeroed_with_their_padding() -> None:
    text = """
    struct key { u32 a; u64 b; };
    BPF_HASH(h, struct key);
    int probe(void *ctx) { struct key k; k.a = 1; k.b = 2; h.increment(k); return 0; }
    """
    assert any(isinstance(op, f.Fill) and op.size == 16 for op in program(text).function.ops())


def test_each_program_is_complete_and_functions_are_inlined() -> None:
    text = """
    static inline int add(int a, int b) { return a + b; }
    int one(void *ctx) { return add(1, 2); }
    int two(void *ctx) { return add(add(1, 2), 3); }
    """
    for spec in compile_text(text).module.programs:
        assert not spec.subprograms
        assert not any(isinstance(op, f.Call) for op in spec.function.ops())


def test_contexts_that_btf_lacks_are_declared() -> None:
    text = "int sample(struct bpf_perf_event_data *ctx) { return PT_REGS_IP(&ctx->regs) + ctx->sample_period; }"
    offsets = [op.constant for op in program(text).function.ops() if isinstance(op, f.Offset)]
    assert offsets == [128, 168]


def test_members_of_anonymous_structs_count_from_the_outer_one() -> None:
    text = """
    struct deep { u64 a; union { struct { u32 b; union { u16 c; u8 d[2]; }; }; u64 e; }; };
    int probe(struct pt_regs *ctx, struct deep *p) { return p->d[1] + p->c; }
    """
    offsets = [op.constant for op in program(text).function.ops() if isinstance(op, f.Offset)]
    assert offsets == [112, 8, 4, 1, 8, 4]  # di; the outer union, the member in it, the element


def test_definitions_through_macros_win_too() -> None:
    text = """
    #define DECLARE(name) struct name { u64 mine; }
    #define LIST KNOWN = 3
    DECLARE(file);
    enum own { LIST };
    int probe(struct pt_regs *ctx, struct file *file, struct inode *inode) { return file->mine + KNOWN + inode->i_ino; }
    """
    assert program(text).name == "probe"


def test_a_real_redefinition_is_still_an_error() -> None:
    with pytest.raises(ParseError, match="redefinition of 'twice'"):
        compile_text("struct twice { int a; }; struct twice { int b; };")


def test_own_functions_win_over_macros() -> None:
    text = "static inline u32 min(u32 a, u32 b) { return a < b ? a : b; } int probe(void *ctx) { return min(1, 2); }"
    assert program(text).name == "probe"


def test_an_unused_atomic_result_is_not_fetched() -> None:
    text = "BPF_ARRAY(a, u64, 1); int probe(void *ctx) { int k = 0; u64 *v = a.lookup(&k); if (v) { %s } return 0; }"
    for statement, fetched in (("lock_xadd(v, 2);", False), ("return __sync_fetch_and_add(v, 2);", True)):
        (atomic,) = (op for op in program(text % statement).function.ops() if isinstance(op, f.Atomic))
        assert (atomic.type != VOID) is fetched


def test_very_deep_expressions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="nested too deeply"):
        compile_text(f"int probe(void *ctx) {{ u64 x = bpf_ktime_get_ns(); return {' + '.join(['x'] * 2000)}; }}")


def test_long_sums_are_fine() -> None:
    text = f"int probe(void *ctx) {{ u64 x = bpf_ktime_get_ns(); return {' + '.join(['x'] * 400)}; }}"
    assert sum(isinstance(op, f.Binary) for op in program(text).function.ops()) == 399


class _WithModules(FixtureTarget):
    """Two modules, each with a struct of its own."""

    def btf_modules(self) -> tuple[str, ...]:
        return ("first", "second")

    def module_btf(self, module: str) -> Btf | None:
        builder = BtfBuilder(base=self.btf)
        long = builder.add_int("unsigned long", 8)
        builder.add_struct(f"of_{module}", 16, [("other", long, 0), ("number", long, 8)])
        return Btf(builder.build(), base=self.btf, name=module)


def test_types_come_from_the_module_that_has_them() -> None:
    text = "int f(struct pt_regs *ctx, struct of_second *p) { return p->number; }"
    result = compile_c(Source("<text>", text), _WithModules())
    assert "of_second.number" in format_module(result.module)
    with pytest.raises(ParseError, match="of_third"):
        compile_c(Source("<text>", text.replace("second", "third")), _WithModules())


def test_a_macro_of_the_kernel_that_the_text_redefines_is_there_before() -> None:
    text = """
    enum { KERNEL_LENGTH = NAME_MAX };
    #undef NAME_MAX
    #define NAME_MAX KERNEL_LENGTH
    struct key_t { char name[NAME_MAX]; };
    BPF_HASH(names, struct key_t);
    int f(void *ctx) { return 0; }
    """
    key = compile_text(text).tables["names"].key
    assert key is not None and key.size == 255
