"""Names of TCP states and flags (``bcc.tcp`` of the scripts)."""

from __future__ import annotations

# include/net/tcp_states.h
tcpstate = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
}

# include/net/tcp.h
TCPHDR_FIN = 0x01
TCPHDR_SYN = 0x02
TCPHDR_RST = 0x04
TCPHDR_PSH = 0x08
TCPHDR_ACK = 0x10
TCPHDR_URG = 0x20
TCPHDR_ECE = 0x40
TCPHDR_CWR = 0x80

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def state2str(state: int) -> str:
    """Return the name of a TCP state, ``UNKNOWN_STATE`` followed by the number for others."""
    return tcpstate.get(state, f"UNKNOWN_STATE({state})")


def flags2str(flags: int) -> str:
    """Return the names of the TCP flags that are set, joined by ``|``."""
    return "|".join(name for bit, name in enumerate(_FLAGS) if flags & 1 << bit)
