int probe(struct pt_regs *ctx, struct nosuch *p) {
    return p->x;
}
