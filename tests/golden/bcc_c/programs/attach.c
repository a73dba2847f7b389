TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
    char name[32];
    bpf_probe_read_user_str(name, sizeof(name), args->filename);
    return args->dfd;
}
KFUNC_PROBE(vfs_open, struct inode *inode, int mode) { return inode->i_ino + mode; }
RAW_TRACEPOINT_PROBE(sched_switch) { return ((struct task_struct *)ctx->args[1])->pid; }
int syscall__openat(struct pt_regs *ctx, int dfd, const char __user *name) { return name[dfd]; }
