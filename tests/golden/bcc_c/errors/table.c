struct leaf { u64 packets; };
BPF_HASH(seen, struct leaf, 4096);
BPF_TABLE("hash", u32, struct no_such_leaf, others, 10);
int f(void *ctx) { return 0; }
