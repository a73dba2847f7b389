#include <linux/sched.h>

struct data_t { u32 pid; u64 ts; char comm[TASK_COMM_LEN]; };
BPF_PERF_OUTPUT(events);
BPF_HASH(counts, u32, u64);

static inline int is_thread(struct task_struct *task) { return task->flags & PF_KTHREAD; }

int on_entry(struct pt_regs *ctx, struct file *file) {
    struct data_t data = {.pid = bpf_get_current_pid_tgid() >> 32};
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    if (!file || is_thread(task))
        return 0;
    data.ts = task->mm->pgd + file->f_inode->i_ino + task->in_execve;
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(ctx, &data, sizeof(data));
    u64 *count = counts.lookup(&data.pid), one = 1;
    if (count)
        (*count)++;
    else
        counts.update(&data.pid, &one);
    counts.increment(data.pid, 2);
    return 0;
}
