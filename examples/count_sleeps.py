# Who sleeps how often: a hash table, filled in the kernel and read when the script is interrupted.
from time import sleep

from bcc import BPF

bpf = BPF(text="""
BPF_HASH(counts, u32, u64);
BPF_HASH(first, u32, u64);

int kprobe__do_nanosleep(struct pt_regs *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 now = bpf_ktime_get_ns();
    u64 *known = first.lookup(&pid);
    if (!known)
        first.update(&pid, &now);
    counts.increment(pid);
    return 0;
}
""")
print("Counting sleeps... Ctrl-C shows them.", flush=True)
try:
    sleep(99999999)
except KeyboardInterrupt:
    pass
first = bpf["first"]
for pid, count in sorted(bpf["counts"].items(), key=lambda item: item[1].value):
    print("pid %d slept %d times, first at %d ns" % (pid.value, count.value, first[pid].value))
