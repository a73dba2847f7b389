# Kernel structs are followed as in the kernel's own C: each arrow becomes a checked read.
from bcc import BPF

bpf = BPF(text="""
#include <uapi/linux/ptrace.h>
#include <linux/sched.h>

int kprobe__do_nanosleep(struct pt_regs *ctx)
{
    struct task_struct *t = (struct task_struct *)bpf_get_current_task();
    bpf_trace_printk("total_vm=%lu tgid=%d\\n", t->mm->total_vm, t->tgid);
    return 0;
}
""")
bpf.trace_print("{1} {5}")
