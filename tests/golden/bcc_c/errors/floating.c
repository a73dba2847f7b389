int probe(struct pt_regs *ctx) {
    float f = 1;
    return f;
}
