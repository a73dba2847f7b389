"""C texts in the style of BCC scripts, through the verifier of this kernel."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from trapline.codegen.compile import compile_module
from trapline.engine.host import live_target
from trapline.frontends.bcc_c.compile import compile_c
from trapline.frontends.bcc_c.result import COptions
from trapline.kernel.object import load_object
from trapline.source import Source

KERNEL = tuple(int(number) for number in os.uname().release.split(".")[:2])
_LIMITED = """
        struct data_t {{ u32 size, filled; char comm[16], text[8192]; }};
        BPF_PERCPU_ARRAY(datas, struct data_t, 1);
        BPF_PERF_OUTPUT(events);
        static inline u32 smaller(u32 a, u32 b) {{ return a < b ? a : b; }}
        int f(struct pt_regs *ctx) {{
            u32 zero = 0;
            int length = PT_REGS_RC(ctx);
            struct data_t *data = datas.lookup(&zero);
            if (length <= 0 || !data) return 0;
            data->size = length;
            data->filled = 0;
            u32 size = {limit};
            bpf_get_current_comm(&data->comm, sizeof(data->comm));
            int failed = bpf_probe_read_user(&data->text, size, (char *)PT_REGS_PARM1(ctx));
            if (!failed) data->filled = 1;
            else size = 0;
            events.perf_submit(ctx, data, offsetof(struct data_t, text) + size);
            return 0;
        }}"""
TEXTS = {
    "a size of 32 bits, limited in an inline function": _LIMITED.format(limit="smaller(8192, length)"),
    "a size of 32 bits, limited in 64": _LIMITED.format(limit="min((size_t)8192, (size_t)length)"),
    "key with padding, struct by value": """
        struct key_t { u8 kind; u64 when; };
        BPF_HASH(start, struct key_t, struct key_t);
        int f(struct pt_regs *ctx) {
            struct key_t key; key.kind = 1; key.when = bpf_ktime_get_ns();
            struct key_t value = key, *found = start.lookup(&key);
            if (found) value = *found;
            start.update(&key, &value);
            start.delete(&key);
            return 0;
        }""",
    "an int of a register, limited, as a size": """
        #define MAX 256
        struct request { u64 id; char text[MAX]; };
        BPF_HASH(requests, u32, struct request);
        int f(struct pt_regs *ctx) {
            u32 pid = bpf_get_current_pid_tgid() >> 32;
            const void *buffer = (const void *)PT_REGS_PARM2(ctx);
            int length = (int)PT_REGS_PARM3(ctx);
            if (length <= 0) return 0;
            struct request request = {};
            int size = length;
            if (size > MAX) size = MAX;
            bpf_probe_read_user(&request.text, size, buffer);
            int found = 0;
            for (int i = 0; i < 32 && i < size - 7; i++)
                if (request.text[i] == 'G' && request.text[i + 1] == 'E') found = i;
            request.id = found;
            requests.update(&pid, &request);
            return 0;
        }
        int g(struct pt_regs *ctx, void *socket, const char *buffer, int length) {
            u32 pid = bpf_get_current_pid_tgid() >> 32;
            struct request *request = requests.lookup(&pid);
            if (!request || length <= 0) return 0;
            int size = length > MAX ? MAX : length;
            bpf_probe_read_user(&request->text, size, buffer);
            return 0;
        }""",
    "a register as a whole and in part": """
        int f(struct pt_regs *ctx, long whole) {
            u64 value = PT_REGS_PARM1(ctx);
            int low = value, again = whole;
            short lower = PT_REGS_PARM2(ctx);
            return value + low + whole + again + lower;
        }""",
    "a variable that may not have been set": """
        #include <linux/skbuff.h>
        #include <linux/ip.h>
        #include <linux/ipv6.h>
        struct seen { u8 state, hook; };
        BPF_ARRAY(last, struct seen, 1);
        int f(struct pt_regs *ctx, struct sk_buff *skb) {
            struct seen seen = {};
            u8 protocol;
            if (skb->protocol == htons(ETH_P_IP)) {
                struct iphdr *ip = (struct iphdr *)(skb->head + skb->network_header);
                protocol = ip->protocol;
            } else if (skb->protocol == htons(ETH_P_IPV6)) {
                struct ipv6hdr *ip = (struct ipv6hdr *)(skb->head + skb->network_header);
                protocol = ip->nexthdr;
            }
            if (protocol == 6) {
                u8 flags = (skb->head + skb->transport_header)[13];
                if (((flags & 1) + (flags & 4)) > 0)
                    seen.state = 3;
                else if ((flags & 2) > 0)
                    seen.state = (flags & 16) > 0 ? 2 : 1;
            }
            u32 zero = 0;
            last.update(&zero, &seen);
            return 0;
        }""",
    "sockets through the aliases of net/sock.h": """
        #include <net/sock.h>
        #include <net/inet_sock.h>
        struct event { unsigned __int128 saddr, daddr; u16 port, family; };
        BPF_PERF_OUTPUT(events);
        int f(struct pt_regs *ctx, struct sock *sk) {
            struct event e = {.family = sk->sk_family, .port = ntohs(sk->sk_dport)};
            if (sk->sk_family == AF_INET6)
                bpf_probe_read_kernel(&e.saddr, sizeof(e.saddr), sk->sk_v6_rcv_saddr.s6_addr32);
            else if (e.family == AF_INET)
                e.saddr = sk->sk_rcv_saddr;
            if (inet_sk(sk)->inet_num == 1 || e.saddr == e.daddr)
                return 0;
            events.perf_submit(ctx, &e, sizeof(e));
            return 0;
        }""",
    "a type that the kernel's headers rename": """
        struct slab { struct kmem_cache *cache; struct rcu_head rcu_head; };
        int f(struct pt_regs *ctx, struct slab *slab, struct task_struct *task) {
            return slab->rcu_head.next && task->rcu.func ? sizeof(struct rcu_head) : 0;
        }""",
    "pointers of the kernel kept in a map": """
        BPF_HASH(files, u64, struct file *);
        BPF_HASH(sizes, u64, u64);
        int enter(struct pt_regs *ctx, struct file *file) {
            u64 id = bpf_get_current_pid_tgid();
            files.update(&id, &file);
            return 0;
        }
        int leave(struct pt_regs *ctx) {
            u64 id = bpf_get_current_pid_tgid(), size;
            struct file **slot = files.lookup(&id);
            if (!slot) return 0;
            struct file *file = *slot;
            struct qstr name = file->f_path.dentry->d_name;
            size = file->f_inode->i_size + name.len + PT_REGS_RC(ctx);
            sizes.update(&id, &size);
            char text[16];
            bpf_probe_read_kernel_str(text, sizeof(text), name.name);
            if (text[0] == '/') files.delete(&id);
            return 0;
        }""",
    "ring buffer": """
        struct event { u32 pid; char comm[TASK_COMM_LEN]; };
        BPF_RINGBUF_OUTPUT(ring, 4);
        int f(struct pt_regs *ctx) {
            struct event *e = ring.ringbuf_reserve(sizeof(struct event));
            if (!e) return 1;
            e->pid = bpf_get_current_pid_tgid() >> 32;
            bpf_get_current_comm(&e->comm, sizeof(e->comm));
            if (e->pid == 1) { ring.ringbuf_discard(e, 0); return 0; }
            ring.ringbuf_submit(e, BPF_RB_FORCE_WAKEUP);
            struct event copy = {.pid = 3};
            ring.ringbuf_output(&copy, sizeof(copy), 0);
            return ring.ringbuf_query(BPF_RB_AVAIL_DATA) > 10;
        }""",
    "strings compared and copied in loops": """
        static inline bool same(char const *text) {
            char needle[] = "sleep";
            char haystack[sizeof(needle)] = {};
            bpf_probe_read_user(&haystack, sizeof(haystack), (void *)text);
            for (int i = 0; i < sizeof(needle) - 1; ++i)
                if (needle[i] != haystack[i])
                    return false;
            return __builtin_memcmp(needle, haystack, 3) == 0;
        }
        #define ARGS 5
        struct data_t { u32 pid; char argv[32]; };
        BPF_PERF_OUTPUT(events);
        static int send(struct pt_regs *ctx, void *ptr, struct data_t *data) {
            bpf_probe_read_user(data->argv, sizeof(data->argv), ptr);
            events.perf_submit(ctx, data, sizeof(struct data_t));
            return 1;
        }
        static int send_pointed(struct pt_regs *ctx, void *ptr, struct data_t *data) {
            const char *argp = NULL;
            bpf_probe_read_user(&argp, sizeof(argp), ptr);
            if (argp) return send(ctx, (void *)argp, data);
            return 0;
        }
        int syscall__execve(struct pt_regs *ctx, const char __user *filename,
                            const char __user *const __user *argv) {
            struct data_t data = {};
            if (!same(filename)) goto out;
            #pragma unroll
            for (int i = 1; i < ARGS; i++)
                if (send_pointed(ctx, (void *)&argv[i], &data) == 0) goto out;
        out:
            return 0;
        }""",
    "all kinds of maps": """
        BPF_QUEUE(queue, u64, 8);
        BPF_STACK(stack, u64, 8);
        BPF_PROG_ARRAY(jumps, 4);
        BPF_STACK_TRACE(stacks, 64);
        BPF_PERCPU_ARRAY(slots, u64, 2);
        BPF_PERCPU_HASH(counts, u32, u64);
        BPF_TABLE("lru_hash", u32, u64, recent, 16);
        BPF_CGROUP_ARRAY(groups, 2);
        BPF_PERF_ARRAY(counters, 4);
        BPF_HISTOGRAM(dist, u64);
        int f(struct pt_regs *ctx) {
            u64 value = stacks.get_stackid(ctx, BPF_F_REUSE_STACKID);
            u32 key = bpf_get_smp_processor_id();
            int slot = 1;
            queue.push(&value, 0);
            stack.push(&value, BPF_EXIST);
            if (queue.pop(&value) < 0 || stack.peek(&value) < 0) return 0;
            if (groups.check_current_task(0) <= 0) value++;
            u64 *found = slots.lookup(&slot);
            if (found) *found += counters.perf_read(CUR_CPU_IDENTIFIER);
            counts.increment(key);
            recent.atomic_increment(key, 3);
            dist.increment(bpf_log2l(value));
            u64 zero = 0, *other = counts.lookup_or_try_init(&key, &zero);
            if (other) __sync_fetch_and_add(other, 2);
            jumps.call(ctx, 2);
            return 0;
        }""",
    "bit-fields, unions and anonymous members of the kernel": """
        #include <linux/sched.h>
        #include <linux/mm_types.h>
        union tag { u64 all; struct { u32 low, high; }; };
        int f(struct pt_regs *ctx) {
            struct task_struct *task = (struct task_struct *)bpf_get_current_task();
            union tag tag = {.high = task->in_iowait};
            tag.low = task->sched_reset_on_fork + task->nsproxy->pid_ns_for_children->level;
            struct task_struct *parent = task->real_parent->group_leader;
            if (parent->tgid == task->parent->tgid && task->comm[1] != parent->comm[1])
                return tag.all;
            return container_of(&task->se, struct task_struct, se)->pid;
        }""",
    "control flow": """
        BPF_ARRAY(out, u64, 8);
        int f(struct pt_regs *ctx, u32 n, u64 *p) {
            u64 sum = 0;
            int i = 0, slot;
            do { sum += n >> i; } while (++i < 6);
            while (i--) { if (i == 2) continue; if (sum > 100) break; sum ^= p[i]; }
            switch (n % 5) { case 0: sum++; break; case 1 ... 3: sum = -sum; default: sum <<= 2; }
            slot = sum & 7;
            u64 *cell = out.lookup(&slot);
            if (cell && (*cell < sum ? n : i)) *cell = max_t(u64, sum, 5) / 3 + sum % 7;
            return (int)sum < 0 ? -1 : !sum;
        }""",
    "a static table and state": """
        static const u32 weights[8] = {1, 2, [5] = 9};
        static u64 calls;
        int f(struct pt_regs *ctx) { calls++; return weights[calls & 7]; }""",
}

# What an older verifier does not prove, whoever compiles it: Linux 6.1 forgets that a number of 32 bits is a copy.
SINCE = {"an int of a register, limited, as a size": (6, 12)}
TEXTS = {name: text for name, text in TEXTS.items() if SINCE.get(name, (0, 0)) <= KERNEL}

OTHER_TYPES = {
    "TRACEPOINT": """
        TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
            char name[64];
            if (bpf_probe_read_user_str(name, sizeof(name), args->filename) > 0)
                bpf_trace_printk("%s %d\\n", name, args->dfd);
            return 0;
        }""",
    "RAW_TRACEPOINT": """
        BPF_HASH(counts, u32);
        RAW_TRACEPOINT_PROBE(sched_switch) {
            struct task_struct *next = (struct task_struct *)ctx->args[2];
            counts.increment(next->pid);
            return 0;
        }""",
    "PERF_EVENT": """
        BPF_HASH(ips, u64);
        int f(struct bpf_perf_event_data *ctx) {
            ips.increment(PT_REGS_IP(&ctx->regs) + ctx->sample_period);
            return 0;
        }""",
}


def load(text: str, type_: str = "") -> None:
    target = live_target()
    module = compile_c(Source("test.c", text), target, COptions()).module
    if type_:
        module = replace(module, programs=tuple(replace(p, type=type_) for p in module.programs))
    with load_object(compile_module(module, target), target) as loaded:
        assert set(loaded.programs) == {p.name for p in module.programs}


@pytest.mark.parametrize("name", TEXTS)
def test_the_verifier_accepts(name: str) -> None:
    load(TEXTS[name])


@pytest.mark.parametrize("type_", OTHER_TYPES)
def test_the_verifier_accepts_other_program_types(type_: str) -> None:
    load(OTHER_TYPES[type_], type_)
