BPF_HISTOGRAM(dist);

int flow(struct pt_regs *ctx, int n) {
    int sum = 0;
    for (int i = 0; i < 8; i++) {
        if (i == n)
            continue;
        if (sum > 20)
            break;
        sum += i;
    }
    switch (n) {
    case 1:
        sum++;
    case 2 ... 4:
        sum *= 2;
        break;
    default:
        goto out;
    }
    dist.atomic_increment(bpf_log2l(sum));
out:
    return sum && n ? sum : n ?: 7;
}
