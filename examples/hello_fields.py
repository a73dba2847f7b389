# The fields of each line, to print them in another order.
from bcc import BPF
from bcc.utils import printb

bpf = BPF(text="""
int kprobe__do_nanosleep(struct pt_regs *ctx)
{
    bpf_trace_printk("sleeping\\n");
    return 0;
}
""")
print("%-18s %-16s %-6s %s" % ("TIME(s)", "COMM", "PID", "MESSAGE"))
while True:
    try:
        task, pid, cpu, flags, ts, message = bpf.trace_fields()
    except ValueError:
        continue
    except KeyboardInterrupt:
        break
    printb(b"%-18.9f %-16s %-6d %s" % (ts, task, pid, message))
