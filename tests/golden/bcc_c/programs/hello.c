#include <uapi/linux/ptrace.h>

int kprobe__do_nanosleep(struct pt_regs *ctx) {
    char comm[16];
    bpf_get_current_comm(&comm, sizeof(comm));
    bpf_trace_printk("executing program: %s\n", comm);
    return 0;
}
