int probe(struct pt_regs *ctx) {
    return strlen("x") + nothing;
}
