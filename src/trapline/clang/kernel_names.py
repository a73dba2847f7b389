"""Names that scripts expect from kernel headers and BTF does not know: macros and small inline functions.

Each entry is one logical line; only those that a script uses, and neither it nor BTF defines, are put before it.
"""

from __future__ import annotations

import re

_TEXT = r"""
#define NULL ((void *)0)
#define __user
#define __kernel
#define __force
#define __iomem
#define __rcu
#define __percpu
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define noinline __attribute__((noinline))
#define __packed __attribute__((packed))
#define __maybe_unused __attribute__((unused))
#define __aligned(x) __attribute__((aligned(x)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() asm volatile("" ::: "memory")
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, v) ((x) = (v))
#define offsetof(T, M) __builtin_offsetof(T, M)
#define sizeof_field(T, M) sizeof(((T *)0)->M)
#define container_of(p, T, M) ((T *)((char *)(p) - __builtin_offsetof(T, M)))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(T, a, b) ({ T __low = (a); T __high = (b); __low < __high ? __low : __high; })
#define max_t(T, a, b) ({ T __low = (a); T __high = (b); __low > __high ? __low : __high; })
#define clamp(v, lo, hi) min(max(v, lo), hi)
#define abs(x) ((x) < 0 ? -(x) : (x))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define div_u64(a, b) ((u64)(a) / (u32)(b))
#define div64_u64(a, b) ((u64)(a) / (u64)(b))
#define do_div(n, b) ({ u32 __base = (b); u32 __rest = (u64)(n) % __base; (n) = (u64)(n) / __base; __rest; })
#define IS_ERR(p) ((unsigned long)(p) >= (unsigned long)-4095)
#define IS_ERR_OR_NULL(p) (!(p) || IS_ERR(p))
#define IS_ERR_VALUE(p) IS_ERR(p)
#define PTR_ERR(p) ((long)(p))
#define atomic_read(p) ((p)->counter)
#define atomic64_read(p) ((p)->counter)
#define refcount_read(p) ((p)->refs.counter)
#define ntohs(x) ((u16)__builtin_bswap16((u16)(x)))
#define htons(x) ((u16)__builtin_bswap16((u16)(x)))
#define ntohl(x) ((u32)__builtin_bswap32((u32)(x)))
#define htonl(x) ((u32)__builtin_bswap32((u32)(x)))
#define __constant_ntohs(x) ntohs(x)
#define __constant_htons(x) htons(x)
#define __constant_ntohl(x) ntohl(x)
#define __constant_htonl(x) htonl(x)
#define __constant_cpu_to_be16(x) htons(x)
#define __constant_be16_to_cpu(x) ntohs(x)
#define __constant_cpu_to_be32(x) htonl(x)
#define __constant_be32_to_cpu(x) ntohl(x)
#define be16_to_cpu(x) ntohs(x)
#define cpu_to_be16(x) htons(x)
#define be32_to_cpu(x) ntohl(x)
#define cpu_to_be32(x) htonl(x)
#define be64_to_cpu(x) ((u64)__builtin_bswap64((u64)(x)))
#define cpu_to_be64(x) ((u64)__builtin_bswap64((u64)(x)))
#define le16_to_cpu(x) ((u16)(x))
#define le32_to_cpu(x) ((u32)(x))
#define le64_to_cpu(x) ((u64)(x))
#define bpf_ntohs(x) ntohs(x)
#define bpf_htons(x) htons(x)
#define bpf_ntohl(x) ntohl(x)
#define bpf_htonl(x) htonl(x)
#define bpf_ntohll(x) be64_to_cpu(x)
#define bpf_htonll(x) cpu_to_be64(x)
#define swab16(x) ((u16)__builtin_bswap16(x))
#define swab32(x) ((u32)__builtin_bswap32(x))
#define swab64(x) ((u64)__builtin_bswap64(x))
#define U8_MAX ((u8)~0)
#define U16_MAX ((u16)~0)
#define U32_MAX ((u32)~0U)
#define U64_MAX (~0ULL)
#define S32_MAX 0x7fffffff
#define S64_MAX 0x7fffffffffffffffLL
#define INT_MAX 0x7fffffff
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX (~0U)
#define LONG_MAX 0x7fffffffffffffffL
#define ULONG_MAX (~0UL)
#define ULLONG_MAX (~0ULL)
#define UINT64_MAX (~0UL)
#define UINT32_MAX (~0U)
#define TASK_COMM_LEN 16
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_LOCAL 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_VSOCK 40
#define PF_UNIX AF_UNIX
#define PF_INET AF_INET
#define PF_INET6 AF_INET6
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SOL_UDP 17
#define SCM_RIGHTS 1
#define SCM_CREDENTIALS 2
#define SOCK_TYPE_MASK 0xf
#define IFNAMSIZ 16
#define ETH_ALEN 6
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_ALL 0x0003
#define ETH_P_8021AD 0x88A8
#define ETH_P_RARP 0x8035
#define ETH_P_MPLS_UC 0x8847
#define ETH_P_MPLS_MC 0x8848
#define ETH_P_PPP_SES 0x8864
#define ETH_P_LLDP 0x88CC
#define ETH_P_LOOP 0x0060
#define ETH_DATA_LEN 1500
#define ETH_FRAME_LEN 1514
#define VLAN_VID_MASK 0x0fff
#define VLAN_PRIO_MASK 0xe000
#define VLAN_PRIO_SHIFT 13
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_NONE 59
#define IPPROTO_DSTOPTS 60
#define IPPROTO_MH 135
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_TIMESTAMP 13
#define ICMP_TIMESTAMPREPLY 14
#define ICMP_INFO_REQUEST 15
#define ICMP_INFO_REPLY 16
#define ICMP_ADDRESS 17
#define ICMP_ADDRESSREPLY 18
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_TIME_EXCEED 3
#define ICMPV6_PARAMPROB 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1FFF
#define INADDR_ANY 0
#define INADDR_LOOPBACK 0x7f000001
#define INADDR_BROADCAST 0xffffffff
#define TC_ACT_UNSPEC -1
#define TC_ACT_OK 0
#define TC_ACT_RECLASSIFY 1
#define TC_ACT_SHOT 2
#define TC_ACT_PIPE 3
#define TC_ACT_STOLEN 4
#define TC_ACT_QUEUED 5
#define TC_ACT_REPEAT 6
#define TC_ACT_REDIRECT 7
#define TC_ACT_TRAP 8
#define TC_ACT_VALUE_MAX TC_ACT_TRAP
#define sockaddr_storage __kernel_sockaddr_storage
#define rcu_head callback_head
#define sk_family __sk_common.skc_family
#define sk_state __sk_common.skc_state
#define sk_reuse __sk_common.skc_reuse
#define sk_reuseport __sk_common.skc_reuseport
#define sk_ipv6only __sk_common.skc_ipv6only
#define sk_dport __sk_common.skc_dport
#define sk_num __sk_common.skc_num
#define sk_daddr __sk_common.skc_daddr
#define sk_rcv_saddr __sk_common.skc_rcv_saddr
#define sk_v6_daddr __sk_common.skc_v6_daddr
#define sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
#define sk_prot __sk_common.skc_prot
#define sk_net __sk_common.skc_net
#define sk_bound_dev_if __sk_common.skc_bound_dev_if
#define sk_hash __sk_common.skc_hash
#define sk_cookie __sk_common.skc_cookie
#define sk_refcnt __sk_common.skc_refcnt
#define sk_flags __sk_common.skc_flags
#define sk_node __sk_common.skc_node
#define sk_portpair __sk_common.skc_portpair
#define sk_addrpair __sk_common.skc_addrpair
#define inet_daddr sk.__sk_common.skc_daddr
#define inet_rcv_saddr sk.__sk_common.skc_rcv_saddr
#define inet_dport sk.__sk_common.skc_dport
#define inet_num sk.__sk_common.skc_num
#define s6_addr in6_u.u6_addr8
#define s6_addr16 in6_u.u6_addr16
#define s6_addr32 in6_u.u6_addr32
#define inet_sk(p) ((struct inet_sock *)(p))
#define inet_csk(p) ((struct inet_connection_sock *)(p))
#define tcp_sk(p) ((struct tcp_sock *)(p))
#define udp_sk(p) ((struct udp_sock *)(p))
#define unix_sk(p) ((struct unix_sock *)(p))
#define skb_network_header(skb) ((skb)->head + (skb)->network_header)
#define skb_transport_header(skb) ((skb)->head + (skb)->transport_header)
#define skb_mac_header(skb) ((skb)->head + (skb)->mac_header)
#define ip_hdr(skb) ((struct iphdr *)skb_network_header(skb))
#define ipv6_hdr(skb) ((struct ipv6hdr *)skb_network_header(skb))
#define tcp_hdr(skb) ((struct tcphdr *)skb_transport_header(skb))
#define udp_hdr(skb) ((struct udphdr *)skb_transport_header(skb))
#define eth_hdr(skb) ((struct ethhdr *)skb_mac_header(skb))
#define TCP_SKB_CB(skb) ((struct tcp_skb_cb *)&((skb)->cb[0]))
#define skb_rx_queue_recorded(skb) ((skb)->queue_mapping != 0)
#define skb_get_rx_queue(skb) ((skb)->queue_mapping - 1)
#define folio_page(folio, n) (&(folio)->page + (n))
#define sg_is_chain(sg) ((sg)->page_link & 1UL)
#define sg_is_last(sg) ((sg)->page_link & 2UL)
#define sg_chain_ptr(sg) ((struct scatterlist *)((sg)->page_link & ~3UL))
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11
#define DNAME_INLINE_LEN 40
#define DISK_NAME_LEN 32
#define NAME_MAX 255
#define PATH_MAX 4096
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#define S_ISLNK(m) (((m) & S_IFMT) == S_IFLNK)
#define S_ISREG(m) (((m) & S_IFMT) == S_IFREG)
#define S_ISDIR(m) (((m) & S_IFMT) == S_IFDIR)
#define S_ISCHR(m) (((m) & S_IFMT) == S_IFCHR)
#define S_ISBLK(m) (((m) & S_IFMT) == S_IFBLK)
#define S_ISFIFO(m) (((m) & S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m) & S_IFMT) == S_IFSOCK)
#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_OPENED 0x80000
#define FMODE_CREATED 0x100000
#define O_ACCMODE 00000003
#define O_RDONLY 00000000
#define O_WRONLY 00000001
#define O_RDWR 00000002
#define O_CREAT 00000100
#define O_EXCL 00000200
#define O_TRUNC 00001000
#define O_APPEND 00002000
#define O_NONBLOCK 00004000
#define O_DIRECTORY 00200000
#define O_CLOEXEC 02000000
#define O_TMPFILE 020200000
#define AT_FDCWD -100
#define READ 0
#define WRITE 1
#define REQ_OP_BITS 8
#define REQ_OP_MASK ((1 << REQ_OP_BITS) - 1)
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAJOR(dev) ((unsigned int)((dev) >> 20))
#define MINOR(dev) ((unsigned int)((dev) & ((1U << 20) - 1)))
#define MKDEV(major, minor) (((major) << 20) | (minor))
#define NSEC_PER_USEC 1000L
#define NSEC_PER_MSEC 1000000L
#define NSEC_PER_SEC 1000000000L
#define USEC_PER_MSEC 1000L
#define USEC_PER_SEC 1000000L
#define MSEC_PER_SEC 1000L
#define TASK_RUNNING 0x00000000
#define TASK_INTERRUPTIBLE 0x00000001
#define TASK_UNINTERRUPTIBLE 0x00000002
#define TASK_STOPPED 0x00000004
#define TASK_TRACED 0x00000008
#define EXIT_DEAD 0x00000010
#define EXIT_ZOMBIE 0x00000020
#define TASK_PARKED 0x00000040
#define TASK_DEAD 0x00000080
#define TASK_NOLOAD 0x00000400
#define TASK_NEW 0x00000800
#define PF_IDLE 0x00000002
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define CAP_OPT_NONE 0x0
#define CAP_OPT_NOAUDIT BIT(1)
#define CAP_OPT_INSETID BIT(2)
#define CLONE_THREAD 0x00010000
#define CLONE_NEWNS 0x00020000
#define SIGKILL 9
#define SIGTERM 15
#define MAX_ERRNO 4095
#define PAGE_OFFSET 0xffff888000000000UL
#define __PAGE_OFFSET_BASE_L4 0xffff888000000000UL
#define __PAGE_OFFSET_BASE_L5 0xff11000000000000UL
#define __START_KERNEL_map 0xffffffff80000000UL
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_EXIST 2
#define BPF_F_LOCK 4
#define BPF_F_NO_PREALLOC 1
#define BPF_F_SKIP_FIELD_MASK 0xffULL
#define BPF_F_USER_STACK (1ULL << 8)
#define BPF_F_FAST_STACK_CMP (1ULL << 9)
#define BPF_F_REUSE_STACKID (1ULL << 10)
#define BPF_F_USER_BUILD_ID (1ULL << 11)
#define BPF_F_INDEX_MASK 0xffffffffULL
#define BPF_F_CURRENT_CPU BPF_F_INDEX_MASK
#define BPF_F_STACK_BUILD_ID (1U << 5)
#define BPF_RB_NO_WAKEUP (1ULL << 0)
#define BPF_RB_FORCE_WAKEUP (1ULL << 1)
#define BPF_RB_AVAIL_DATA 0
#define BPF_RB_RING_SIZE 1
#define BPF_RB_CONS_POS 2
#define BPF_RB_PROD_POS 3
#define PT_REGS_PARM1_CORE(x) PT_REGS_PARM1(x)
#define PERF_MAX_STACK_DEPTH 127
"""

_ERRNO_TEXT = """
EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
ERANGE
"""
_ERRNO_MORE = {
    "EDEADLK": 35, "ENAMETOOLONG": 36, "ENOLCK": 37, "ENOSYS": 38, "ENOTEMPTY": 39, "ELOOP": 40, "EWOULDBLOCK": 11,
    "ENODATA": 61, "ETIME": 62, "EPROTO": 71, "EOVERFLOW": 75, "EILSEQ": 84, "ENOTSOCK": 88, "EDESTADDRREQ": 89,
    "EMSGSIZE": 90, "EPROTOTYPE": 91, "ENOPROTOOPT": 92, "EPROTONOSUPPORT": 93, "ESOCKTNOSUPPORT": 94,
    "EOPNOTSUPP": 95, "EPFNOSUPPORT": 96, "EAFNOSUPPORT": 97, "EADDRINUSE": 98, "EADDRNOTAVAIL": 99, "ENETDOWN": 100,
    "ENETUNREACH": 101, "ENETRESET": 102, "ECONNABORTED": 103, "ECONNRESET": 104, "ENOBUFS": 105, "EISCONN": 106,
    "ENOTCONN": 107, "ESHUTDOWN": 108, "ETIMEDOUT": 110, "ECONNREFUSED": 111, "EHOSTDOWN": 112, "EHOSTUNREACH": 113,
    "EALREADY": 114, "EINPROGRESS": 115, "ESTALE": 116, "EDQUOT": 122, "ECANCELED": 125, "ERESTARTSYS": 512,
}  # fmt: skip

_NAME = re.compile(r"#define (\w+)")

MACROS: dict[str, str] = {
    match.group(1): line for line in _TEXT.splitlines() if (match := _NAME.match(line)) is not None
}
MACROS.update({name: f"#define {name} {number}" for number, name in enumerate(_ERRNO_TEXT.split(), 1)})
MACROS.update({name: f"#define {name} {number}" for name, number in _ERRNO_MORE.items()})

# Typedefs that every script may rely on, whatever the kernel's BTF has.
TYPEDEFS = """
typedef signed char s8, __s8, int8_t; typedef unsigned char u8, __u8, uint8_t, u_char, unchar;
typedef short s16, __s16, int16_t; typedef unsigned short u16, __u16, uint16_t, u_short, ushort;
typedef int s32, __s32, int32_t; typedef unsigned int u32, __u32, uint32_t, u_int, uint;
typedef long long s64, __s64; typedef unsigned long long u64, __u64;
typedef u16 __le16, __be16; typedef u32 __le32, __be32; typedef u64 __le64, __be64;
typedef unsigned long uintptr_t; typedef long intptr_t; typedef long ptrdiff_t;
typedef unsigned long size_t; typedef long ssize_t; typedef long long loff_t;
typedef int pid_t; typedef unsigned int uid_t, gid_t; typedef unsigned int dev_t; typedef unsigned short umode_t;
typedef _Bool bool;
"""
TYPEDEF_NAMES = frozenset(re.findall(r"\b(\w+)(?=[,;])", "\n".join(TYPEDEFS.splitlines()))) | {"false", "true"}
