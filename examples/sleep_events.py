# A struct for each event, through a perf buffer.
from bcc import BPF
from bcc.utils import printb

bpf = BPF(text="""
#include <linux/sched.h>

struct data_t {
    u32 pid;
    u64 ts;
    char comm[TASK_COMM_LEN];
};
BPF_PERF_OUTPUT(events);

int kprobe__do_nanosleep(struct pt_regs *ctx)
{
    struct data_t data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    data.ts = bpf_ktime_get_ns();
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
""")


def print_event(cpu, data, size):
    event = bpf["events"].event(data)
    printb(b"%d %-6d %s" % (event.ts, event.pid, event.comm))


bpf["events"].open_perf_buffer(print_event)
while True:
    try:
        bpf.perf_buffer_poll()
    except KeyboardInterrupt:
        break
