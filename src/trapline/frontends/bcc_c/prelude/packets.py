"""Headers of packets as BCC scripts name them, and cursors that walk over them.

A member of such a struct is a place in the packet, counted in bits from its start in the order of the network; reading
it goes through the kernel, and gives the value in the order of the machine.
"""

from __future__ import annotations

from trapline.frontends.bcc_c.scan import TextScan

PACKET = "trapline_packet"

_CURSORS = f"""
#define BPF_PACKET_HEADER __attribute__((packed, annotate("{PACKET}")))
#define cursor_advance(CURSOR, LENGTH) ({{ void *__before = CURSOR; CURSOR += LENGTH; __before; }})
u64 load_byte(void *, u64);
u64 load_half(void *, u64);
u64 load_word(void *, u64);
u64 bpf_dext_pkt(void *, u64, u64, u64);
int incr_cksum_l3(void *, u64, u64);
int incr_cksum_l4(void *, u64, u64, u64);
"""

_WORDS_TEXT = """
cursor_advance BPF_PACKET_HEADER load_byte load_half load_word bpf_dext_pkt incr_cksum_l3 incr_cksum_l4
"""
_WORDS = frozenset(_WORDS_TEXT.split())

# Tag → members, each with its width in bits.
_HEADERS = {
    "ethernet_t": "dst:48 src:48 type:16",
    "dot1q_t": "pri:3 cfi:1 vlanid:12 type:16",
    "arp_t": "htype:16 ptype:16 hlen:8 plen:8 oper:16 sha:48 spa:32 tha:48 tpa:32",
    "ip_t": "ver:4 hlen:4 tos:8 tlen:16 identification:16 ffo_unused:1 df:1 mf:1 foffset:13 ttl:8 nextp:8 "
    "hchecksum:16 src:32 dst:32",
    "ip6_t": "ver:4 priority:8 flow_label:20 payload_len:16 next_header:8 hop_limit:8 src_hi:64 src_lo:64 dst_hi:64 "
    "dst_lo:64",
    "ip6_opt_t": "next_header:8 ext_len:8 pad:48",
    "udp_t": "sport:16 dport:16 length:16 crc:16",
    "tcp_t": "src_port:16 dst_port:16 seq_num:32 ack_num:32 offset:4 reserved:4 flag_cwr:1 flag_ece:1 flag_urg:1 "
    "flag_ack:1 flag_psh:1 flag_rst:1 flag_syn:1 flag_fin:1 rcv_wnd:16 cksum:16 urg_ptr:16",
    "icmp_t": "type:8 code:8 checksum:16",
    "icmp6_t": "type:8 code:8 checksum:16",
    "vxlan_t": "rsv1:4 iflag:1 rsv2:3 rsv3:24 key:24 rsv4:8",
    "vxlan_gbp_t": "gflag:1 rsv1:3 iflag:1 rsv2:3 rsv3:1 dflag:1 rsv4:2 aflag:1 rsv5:3 tag:16 key:24 rsv6:8",
}


def packet_headers(scan: TextScan) -> str:
    """Return the headers, and what walks over them, as far as a text uses them."""
    wanted = [tag for tag in _HEADERS if tag in scan.identifiers and tag not in scan.defined]
    if not wanted and not _WORDS & scan.identifiers:
        return ""
    return _CURSORS + "".join(_declare(tag, _HEADERS[tag]) for tag in wanted)


def _declare(tag: str, members: str) -> str:
    lines = []
    position = 0
    for member in members.split():
        name, _, text = member.partition(":")
        width = int(text)
        if position % 8 == 0 and width in (8, 16, 32, 64):
            lines.append(f"u{width} {name};")
        else:
            lines.append(f"u{64 if width > 32 else 32} {name} : {width};")
        position += width
    return f"struct {tag} {{ {' '.join(lines)} }} BPF_PACKET_HEADER;\n"
