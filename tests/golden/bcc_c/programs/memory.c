struct key { u8 kind; u64 address; union { u32 word; u16 half[2]; }; };
BPF_HASH(stamps, struct key, struct key);
BPF_RINGBUF_OUTPUT(ring, 4);

int copies(struct pt_regs *ctx, struct task_struct *task) {
    struct key key = {.address = 1, .half = {[1] = 3}}, other = key, *found;
    char text[8] = "abc";
    struct key *slot = ring.ringbuf_reserve(sizeof(*slot));
    if (!slot)
        return 0;
    *slot = other;
    __builtin_memcpy(&slot->address, text, sizeof(text));
    ring.ringbuf_submit(slot, 0);
    found = stamps.lookup_or_try_init(&key, &other);
    if (found)
        found->word ^= task->comm[2];
    return __sync_fetch_and_add(&other.address, 4);
}
