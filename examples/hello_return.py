# At the function's return, with its return value.
from bcc import BPF

bpf = BPF(text="""
#include <uapi/linux/ptrace.h>

int trace_return(struct pt_regs *ctx)
{
    bpf_trace_printk("do_nanosleep returned %d\\n", PT_REGS_RC(ctx));
    return 0;
}
""")
bpf.attach_kretprobe(event="do_nanosleep", fn_name="trace_return")
bpf.trace_print()
