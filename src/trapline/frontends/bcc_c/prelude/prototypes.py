"""C prototypes of the BPF helpers; those that scripts rarely use get one without parameters."""

from trapline.abi.helper_ids import HELPERS

# Prototypes matter for conversions of the arguments; results narrower than 64 bits are truncated by the lowering.
_PROTOTYPES = r"""
void *bpf_map_lookup_elem(void *, const void *);
long bpf_map_update_elem(void *, const void *, const void *, u64);
long bpf_map_delete_elem(void *, const void *);
long bpf_map_push_elem(void *, const void *, u64);
long bpf_map_pop_elem(void *, void *);
long bpf_map_peek_elem(void *, void *);
int bpf_probe_read(void *, u32, const void *);
int bpf_probe_read_str(void *, u32, const void *);
int bpf_probe_read_kernel(void *, u32, const void *);
int bpf_probe_read_kernel_str(void *, u32, const void *);
int bpf_probe_read_user(void *, u32, const void *);
int bpf_probe_read_user_str(void *, u32, const void *);
long bpf_probe_write_user(void *, const void *, u32);
u64 bpf_ktime_get_ns(void);
u64 bpf_ktime_get_boot_ns(void);
u64 bpf_ktime_get_coarse_ns(void);
u64 bpf_ktime_get_tai_ns(void);
u64 bpf_jiffies64(void);
u32 bpf_get_prandom_u32(void);
u32 bpf_get_smp_processor_id(void);
int bpf_get_numa_node_id(void);
u64 bpf_get_current_pid_tgid(void);
u64 bpf_get_current_uid_gid(void);
int bpf_get_current_comm(void *, u32);
u64 bpf_get_current_task(void);
struct task_struct *bpf_get_current_task_btf(void);
u64 bpf_get_current_cgroup_id(void);
u64 bpf_get_current_ancestor_cgroup_id(int);
int bpf_get_ns_current_pid_tgid(u64, u64, void *, u32);
int bpf_current_task_under_cgroup(void *, u32);
int bpf_perf_event_output(void *, void *, u64, void *, u64);
u64 bpf_perf_event_read(void *, u64);
int bpf_perf_event_read_value(void *, u64, void *, u32);
int bpf_perf_prog_read_value(void *, void *, u32);
int bpf_get_stackid(void *, void *, u64);
int bpf_get_stack(void *, void *, u32, u64);
long bpf_get_task_stack(void *, void *, u32, u64);
int bpf_override_return(void *, u64);
int bpf_send_signal(u32);
int bpf_send_signal_thread(u32);
void *bpf_ringbuf_reserve(void *, u64, u64);
void bpf_ringbuf_submit(void *, u64);
void bpf_ringbuf_discard(void *, u64);
u64 bpf_ringbuf_query(void *, u64);
int bpf_ringbuf_output(void *, void *, u64, u64);
long bpf_d_path(void *, char *, u32);
u64 bpf_get_func_ip(void *);
u64 bpf_get_attach_cookie(void *);
long bpf_task_pt_regs(void *);
long bpf_strncmp(const char *, u32, const char *);
long bpf_strtol(const char *, u64, u64, long *);
int bpf_tail_call(void *, void *, u32);
u64 bpf_get_socket_cookie(void *);
long bpf_get_branch_snapshot(void *, u32, u64);
long bpf_snprintf(char *, u32, const char *, u64 *, u32);
long bpf_copy_from_user(void *, u32, const void *);
int bpf_trace_printk(const char *, ...);
int bpf_num_cpus(void);
int bpf_usdt_readarg(int, const void *, void *, ...);
int bpf_usdt_readarg_p(int, const void *, void *, u64);
void *memcpy(void *, const void *, unsigned long);
void *memset(void *, int, unsigned long);
void *memmove(void *, const void *, unsigned long);
int memcmp(const void *, const void *, unsigned long);
"""


def helper_prototypes() -> str:
    """Return the declarations of all helpers."""
    named = {line.split("(", 1)[0].split()[-1].lstrip("*") for line in _PROTOTYPES.splitlines() if "(" in line}
    others = (f"long bpf_{name}();" for name in HELPERS if f"bpf_{name}" not in named)
    return _PROTOTYPES + "\n".join(others) + "\n"
