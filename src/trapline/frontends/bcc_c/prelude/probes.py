"""Macros that declare probes and read registers; `register_macros` fills in the architecture."""

from __future__ import annotations

from trapline.hints import Protocol

PROBES = r"""
#define TRACEPOINT_PROBE(CATEGORY, EVENT)                                            \
    int tracepoint__##CATEGORY##__##EVENT(struct tracepoint__##CATEGORY##__##EVENT *args)
#define RAW_TRACEPOINT_PROBE(EVENT) int raw_tracepoint__##EVENT(struct bpf_raw_tracepoint_args *ctx)
#define KFUNC_PROBE(EVENT, ARGS...) int kfunc__vmlinux__##EVENT(unsigned long long *ctx, ##ARGS)
#define KRETFUNC_PROBE(EVENT, ARGS...) int kretfunc__vmlinux__##EVENT(unsigned long long *ctx, ##ARGS)
#define MODULE_KFUNC_PROBE(MODULE, EVENT, ARGS...) int kfunc__##MODULE##__##EVENT(unsigned long long *ctx, ##ARGS)
#define MODULE_KRETFUNC_PROBE(MODULE, EVENT, ARGS...) \
    int kretfunc__##MODULE##__##EVENT(unsigned long long *ctx, ##ARGS)
#define KMOD_RET(EVENT, ARGS...) int kmod_ret__##EVENT(unsigned long long *ctx, ##ARGS)
#define LSM_PROBE(EVENT, ARGS...) int lsm__##EVENT(unsigned long long *ctx, ##ARGS)
#define BPF_ITER(TARGET) int bpf_iter__##TARGET(struct bpf_iter__##TARGET *ctx)

#define TP_DATA_LOC_READ_CONST(DST, FIELD, LENGTH)                                   \
    do { bpf_probe_read((void *)(DST), (LENGTH), (char *)args + (args->data_loc_##FIELD & 0xffff)); } while (0)
#define TP_DATA_LOC_READ(DST, FIELD)                                                 \
    do { bpf_probe_read((void *)(DST), args->data_loc_##FIELD >> 16,                 \
                        (char *)args + (args->data_loc_##FIELD & 0xffff)); } while (0)
#define TP_DATA_LOC_READ_STR(DST, FIELD, LENGTH)                                     \
    do { bpf_probe_read_str((void *)(DST), (LENGTH), (char *)args + (args->data_loc_##FIELD & 0xffff)); } while (0)

#define CUR_CPU_IDENTIFIER 0xffffffffULL
#define lock_xadd(POINTER, VALUE) ((void)__sync_fetch_and_add(POINTER, VALUE))
#define BPF_PROBE_READ_INTO(DST, SRC) bpf_probe_read((DST), sizeof(*(DST)), (SRC))

static inline u32 bpf_log2(u32 value) {
    u32 result = 0;
    if (value >= 1u << 16) { value >>= 16; result += 16; }
    if (value >= 1u << 8) { value >>= 8; result += 8; }
    if (value >= 1u << 4) { value >>= 4; result += 4; }
    if (value >= 1u << 2) { value >>= 2; result += 2; }
    return result + (value >= 2);
}
static inline u32 bpf_log2l(u64 value) {
    u32 high = value >> 32;
    return high ? bpf_log2(high) + 33 : bpf_log2(value) + 1;
}
"""

# Contexts of probes that a kernel's BTF may lack, because nothing in the kernel uses the type.
CONTEXTS = {
    "bpf_raw_tracepoint_args": "struct bpf_raw_tracepoint_args { u64 args[0]; };\n",
    "bpf_perf_event_data": "struct bpf_perf_event_data { struct pt_regs regs; u64 sample_period, addr; };\n",
    "bpf_pidns_info": "struct bpf_pidns_info { u32 pid, tgid; };\n",
    "bpf_perf_event_value": "struct bpf_perf_event_value { u64 counter, enabled, running; };\n",
}

_REGISTERS_X86 = "r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss"


class RegisterTable(Protocol):
    """What `register_macros` needs of an architecture."""

    @property
    def name(self) -> str:
        """As ``uname -m`` says."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Registers of a function's arguments."""

    @property
    def syscall_arguments(self) -> tuple[str, ...]:
        """Registers of a system call's arguments."""


def register_macros(arch: RegisterTable) -> str:
    """Return ``PT_REGS_*`` for an architecture, on the ``struct pt_regs`` that the kernel's BTF declares."""
    if arch.name == "x86_64":
        special = {"RET": "sp", "FP": "bp", "RC": "ax", "SP": "sp", "IP": "ip"}
        lines = [f"#define PT_REGS_{name}(x) ((x)->{register})" for name, register in special.items()]

        def member(register: str) -> str:
            return f"((x)->{register})"

        architecture = "bpf_target_x86"
    else:
        special = {"RET": "regs[30]", "FP": "regs[29]", "RC": "regs[0]", "SP": "sp", "IP": "pc"}
        lines = [f"#define PT_REGS_{name}(x) (((struct pt_regs *)(x))->{field})" for name, field in special.items()]

        def member(register: str) -> str:
            field = f"regs[{register[1:]}]" if register.startswith("x") else register
            return f"(((struct pt_regs *)(x))->{field})"

        architecture = "bpf_target_arm64"
    lines += [f"#define PT_REGS_PARM{i}(x) {member(r)}" for i, r in enumerate(arch.arguments, 1)]
    lines += [f"#define PT_REGS_PARM{i}_SYSCALL(x) {member(r)}" for i, r in enumerate(arch.syscall_arguments, 1)]
    lines.append("#define PT_REGS_SYSCALL_CTX(x) ((struct pt_regs *)PT_REGS_PARM1(x))")
    lines.append("#define bpf_syscall_regs(x) PT_REGS_SYSCALL_CTX(x)")
    lines.append(f"#define {architecture} 1")
    return "\n".join(lines) + "\n"


def register_struct(arch: RegisterTable) -> str:
    """Return ``struct pt_regs`` for kernels whose BTF cannot be read."""
    if arch.name == "x86_64":
        return "struct pt_regs { unsigned long " + _REGISTERS_X86 + "; };\n"
    return "struct pt_regs { u64 regs[31], sp, pc, pstate, orig_x0; };\n"
