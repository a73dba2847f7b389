"""The map macros of BCC, as declarations that clang parses and `tables` reads back.

Each map is a variable of a struct type of its own; its methods are members that point to functions, so that clang
checks their arguments; kind, scope, size and flags are initialisers, which libclang shows (section names it does not).
"""

MARKER = "__trapline_kind"

MAPS = r"""
#define __TRAPLINE_METHODS(K, L)                                                     \
    K key; L leaf;                                                                   \
    L *(*lookup)(K *); L *(*lookup_or_init)(K *, L *);                               \
    L *(*lookup_or_try_init)(K *, L *); L *(*lookup_percpu)(K *, u32);               \
    int (*update)(K *, L *); int (*insert)(K *, L *); int (*delete)(K *);            \
    void (*increment)(K, ...); void (*atomic_increment)(K, ...);                     \
    int (*push)(L *, u64); int (*pop)(L *); int (*peek)(L *);                        \
    int (*perf_submit)(void *, void *, u32);                                         \
    int (*perf_submit_skb)(void *, u32, void *, u32);                                \
    u64 (*perf_read)(int); int (*perf_counter_value)(int, void *, u32);              \
    int (*get_stackid)(void *, u64); int (*get_stackid_with_mask)(void *, u64);      \
    int (*ringbuf_output)(void *, u64, u64); void *(*ringbuf_reserve)(u64);          \
    void (*ringbuf_submit)(void *, u64); void (*ringbuf_discard)(void *, u64);       \
    u64 (*ringbuf_query)(u64);                                                       \
    void (*call)(void *, int); int (*check_current_task)(int);                       \
    int (*redirect_map)(int, int);                                                   \
    int (*sock_map_update)(void *, void *, u64); int (*sock_hash_update)(void *, void *, u64); \
    int (*msg_redirect_hash)(void *, void *, u64); int (*sk_redirect_hash)(void *, void *, u64); \
    int (*msg_redirect_map)(void *, u32, u64); int (*sk_redirect_map)(void *, u32, u64); \
    void *(*sk_storage_get)(void *, void *, u64); int (*sk_storage_delete)(void *);  \
    void *(*inode_storage_get)(void *, void *, u64); int (*inode_storage_delete)(void *); \
    void *(*task_storage_get)(void *, void *, u64); int (*task_storage_delete)(void *); \
    L *(*get_local_storage)(u64);

#define __TRAPLINE_TABLE(SCOPE, PIN, INNER, KIND, K, L, NAME, MAX, FLAGS)            \
    struct NAME##_table_t {                                                          \
        __TRAPLINE_METHODS(K, L)                                                     \
        u64 max_entries; u64 flags;                                                  \
        const char *__trapline_kind, *__trapline_scope, *__trapline_pin, *__trapline_inner; \
    };                                                                               \
    struct NAME##_table_t NAME = {                                                   \
        .max_entries = (MAX), .flags = (FLAGS), .__trapline_kind = KIND,             \
        .__trapline_scope = SCOPE, .__trapline_pin = PIN, .__trapline_inner = INNER }

#define BPF_F_TABLE(KIND, K, L, NAME, MAX, FLAGS)                                    \
    __TRAPLINE_TABLE("private", "", "", KIND, K, L, NAME, MAX, FLAGS)
#define BPF_TABLE(KIND, K, L, NAME, MAX) BPF_F_TABLE(KIND, K, L, NAME, MAX, 0)
#define BPF_TABLE_PUBLIC(KIND, K, L, NAME, MAX)                                      \
    __TRAPLINE_TABLE("public", "", "", KIND, K, L, NAME, MAX, 0)
#define BPF_TABLE_SHARED(KIND, K, L, NAME, MAX)                                      \
    __TRAPLINE_TABLE("shared", "", "", KIND, K, L, NAME, MAX, 0)
#define BPF_F_TABLE_PINNED(KIND, K, L, NAME, MAX, PIN, FLAGS)                        \
    __TRAPLINE_TABLE("pinned", PIN, "", KIND, K, L, NAME, MAX, FLAGS)
#define BPF_TABLE_PINNED(...) __TRAPLINE_7(__VA_ARGS__, BPF_F_TABLE_PINNED,          \
    __TRAPLINE_PINNED6)(__VA_ARGS__)
#define __TRAPLINE_PINNED6(KIND, K, L, NAME, MAX, PIN) BPF_F_TABLE_PINNED(KIND, K, L, NAME, MAX, PIN, 0)
#define __TRAPLINE_7(A, B, C, D, E, F, G, CHOSEN, ...) CHOSEN
#define __TRAPLINE_4(A, B, C, D, CHOSEN, ...) CHOSEN
#define __TRAPLINE_3(A, B, C, CHOSEN, ...) CHOSEN

#define __TRAPLINE_HASH1(KIND, NAME) BPF_TABLE(KIND, u64, u64, NAME, 10240)
#define __TRAPLINE_HASH2(KIND, NAME, K) BPF_TABLE(KIND, K, u64, NAME, 10240)
#define __TRAPLINE_HASH3(KIND, NAME, K, L) BPF_TABLE(KIND, K, L, NAME, 10240)
#define __TRAPLINE_HASH4(KIND, NAME, K, L, MAX) BPF_TABLE(KIND, K, L, NAME, MAX)
#define __TRAPLINE_HASH(KIND, ...) __TRAPLINE_4(__VA_ARGS__, __TRAPLINE_HASH4,       \
    __TRAPLINE_HASH3, __TRAPLINE_HASH2, __TRAPLINE_HASH1)(KIND, __VA_ARGS__)
#define BPF_HASH(...) __TRAPLINE_HASH("hash", __VA_ARGS__)
#define BPF_PERCPU_HASH(...) __TRAPLINE_HASH("percpu_hash", __VA_ARGS__)
#define BPF_LRU_HASH(...) __TRAPLINE_HASH("lru_hash", __VA_ARGS__)
#define BPF_LRU_PERCPU_HASH(...) __TRAPLINE_HASH("lru_percpu_hash", __VA_ARGS__)

#define __TRAPLINE_ARRAY1(KIND, NAME) BPF_TABLE(KIND, int, u64, NAME, 10240)
#define __TRAPLINE_ARRAY2(KIND, NAME, L) BPF_TABLE(KIND, int, L, NAME, 10240)
#define __TRAPLINE_ARRAY3(KIND, NAME, L, MAX) BPF_TABLE(KIND, int, L, NAME, MAX)
#define __TRAPLINE_ARRAY(KIND, ...) __TRAPLINE_3(__VA_ARGS__, __TRAPLINE_ARRAY3,     \
    __TRAPLINE_ARRAY2, __TRAPLINE_ARRAY1)(KIND, __VA_ARGS__)
#define BPF_ARRAY(...) __TRAPLINE_ARRAY("array", __VA_ARGS__)
#define BPF_PERCPU_ARRAY(...) __TRAPLINE_ARRAY("percpu_array", __VA_ARGS__)

#define __TRAPLINE_HIST1(NAME) BPF_TABLE("histogram", int, u64, NAME, 64)
#define __TRAPLINE_HIST2(NAME, K) BPF_TABLE("histogram", K, u64, NAME, 64)
#define __TRAPLINE_HIST3(NAME, K, MAX) BPF_TABLE("histogram", K, u64, NAME, MAX)
#define BPF_HISTOGRAM(...) __TRAPLINE_3(__VA_ARGS__, __TRAPLINE_HIST3,               \
    __TRAPLINE_HIST2, __TRAPLINE_HIST1)(__VA_ARGS__)

#define __TRAPLINE_LPM1(NAME) BPF_F_TABLE("lpm_trie", u64, u64, NAME, 10240, 1)
#define __TRAPLINE_LPM2(NAME, K) BPF_F_TABLE("lpm_trie", K, u64, NAME, 10240, 1)
#define __TRAPLINE_LPM3(NAME, K, L) BPF_F_TABLE("lpm_trie", K, L, NAME, 10240, 1)
#define __TRAPLINE_LPM4(NAME, K, L, MAX) BPF_F_TABLE("lpm_trie", K, L, NAME, MAX, 1)
#define BPF_LPM_TRIE(...) __TRAPLINE_4(__VA_ARGS__, __TRAPLINE_LPM4, __TRAPLINE_LPM3, \
    __TRAPLINE_LPM2, __TRAPLINE_LPM1)(__VA_ARGS__)

struct bpf_stacktrace { u64 ip[127]; };
struct bpf_stack_build_id_entry { s32 status; unsigned char build_id[20]; union { u64 offset, ip; }; };
struct bpf_stacktrace_buildid { struct bpf_stack_build_id_entry trace[127]; };
#define BPF_STACK_TRACE(NAME, MAX) BPF_TABLE("stacktrace", int, struct bpf_stacktrace, NAME, MAX)
#define BPF_STACK_TRACE_BUILDID(NAME, MAX)                                           \
    BPF_F_TABLE("stacktrace", int, struct bpf_stacktrace_buildid, NAME, MAX, 1 << 5)
#define BPF_PERF_OUTPUT(NAME) BPF_TABLE("perf_output", int, u32, NAME, 0)
#define BPF_PERF_ARRAY(NAME, MAX) BPF_TABLE("perf_array", int, u32, NAME, MAX)
#define BPF_RINGBUF_OUTPUT(NAME, PAGES) BPF_TABLE("ringbuf", u32, u32, NAME, (PAGES) * PAGE_SIZE)
#define BPF_PROG_ARRAY(NAME, MAX) BPF_TABLE("prog", int, u32, NAME, MAX)
#define BPF_CGROUP_ARRAY(NAME, MAX) BPF_TABLE("cgroup_array", int, u32, NAME, MAX)
#define BPF_DEVMAP(NAME, MAX) BPF_TABLE("devmap", int, u32, NAME, MAX)
#define BPF_CPUMAP(NAME, MAX) BPF_TABLE("cpumap", int, u32, NAME, MAX)
#define BPF_XSKMAP(NAME, MAX) BPF_TABLE("xskmap", int, u32, NAME, MAX)
#define BPF_QUEUESTACK(KIND, NAME, L, MAX, FLAGS) BPF_F_TABLE(KIND, int, L, NAME, MAX, FLAGS)
#define __TRAPLINE_QUEUE3(KIND, NAME, L, MAX) BPF_QUEUESTACK(KIND, NAME, L, MAX, 0)
#define __TRAPLINE_QUEUE4(KIND, NAME, L, MAX, FLAGS) BPF_QUEUESTACK(KIND, NAME, L, MAX, FLAGS)
#define BPF_QUEUE(...) __TRAPLINE_4(__VA_ARGS__, __TRAPLINE_QUEUE4, __TRAPLINE_QUEUE3,)("queue", __VA_ARGS__)
#define BPF_STACK(...) __TRAPLINE_4(__VA_ARGS__, __TRAPLINE_QUEUE4, __TRAPLINE_QUEUE3,)("stack", __VA_ARGS__)
#define BPF_ARRAY_OF_MAPS(NAME, INNER, MAX)                                          \
    __TRAPLINE_TABLE("private", "", INNER, "array_of_maps", int, int, NAME, MAX, 0)
#define __TRAPLINE_HOM3(NAME, INNER, MAX)                                            \
    __TRAPLINE_TABLE("private", "", INNER, "hash_of_maps", int, int, NAME, MAX, 0)
#define __TRAPLINE_HOM4(NAME, K, INNER, MAX)                                         \
    __TRAPLINE_TABLE("private", "", INNER, "hash_of_maps", K, int, NAME, MAX, 0)
#define BPF_HASH_OF_MAPS(...) __TRAPLINE_4(__VA_ARGS__, __TRAPLINE_HOM4, __TRAPLINE_HOM3,)(__VA_ARGS__)
#define BPF_SK_STORAGE(NAME, L) BPF_F_TABLE("sk_storage", int, L, NAME, 0, 1)
#define BPF_INODE_STORAGE(NAME, L) BPF_F_TABLE("inode_storage", int, L, NAME, 0, 1)
#define BPF_TASK_STORAGE(NAME, L) BPF_F_TABLE("task_storage", int, L, NAME, 0, 1)
#define BPF_SOCKMAP(NAME, MAX) BPF_TABLE("sockmap", u32, int, NAME, MAX)
#define BPF_SOCKHASH(NAME, K, MAX) BPF_TABLE("sockhash", K, int, NAME, MAX)
struct bpf_cgroup_storage_key_ { u64 cgroup_inode_id; u32 attach_type; };
#define BPF_CGROUP_STORAGE(NAME, L) BPF_TABLE("cgroup_storage", struct bpf_cgroup_storage_key_, L, NAME, 0)
#define BPF_PERCPU_CGROUP_STORAGE(NAME, L) \
    BPF_TABLE("percpu_cgroup_storage", struct bpf_cgroup_storage_key_, L, NAME, 0)
#define BPF_XDP_REDIRECT_MAP(NAME, MAX) BPF_DEVMAP(NAME, MAX)
"""
