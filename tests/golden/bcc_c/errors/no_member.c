int probe(struct pt_regs *ctx) {
    struct task_struct *t = (void *)bpf_get_current_task();
    return t->missing;
}
