# The probe function has a name of its own, and the script says where it goes.
from bcc import BPF

bpf = BPF(text="""
int trace_sleep(struct pt_regs *ctx)
{
    char comm[16];
    bpf_get_current_comm(&comm, sizeof(comm));
    bpf_trace_printk("executing program: %s\\n", comm);
    return 0;
}
""")
bpf.attach_kprobe(event="do_nanosleep", fn_name="trace_sleep")
bpf.trace_print()
