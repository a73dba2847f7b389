"""rtnetlink: which XDP program a network interface runs."""

from __future__ import annotations

import errno
import os
import socket
import struct

from trapline.errors import KernelError

_NLMSG_ERROR = 2
_RTM_SETLINK = 19
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_IFLA_XDP, _IFLA_XDP_FD, _IFLA_XDP_FLAGS = 43, 1, 3
_NLA_F_NESTED = 1 << 15
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_INFO = struct.Struct("=BxHiII")  # struct ifinfomsg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_SEQUENCE = 1


def set_xdp_program(interface: int, prog_fd: int, flags: int = 0) -> None:
    """Set the XDP program of an interface; the interface keeps it.

    Args:
        interface: its index.
        prog_fd: the program; -1 takes away what is there.
        flags: ``XDP_FLAGS_…``.

    Raises:
        KernelError: the kernel refused.
    """
    xdp = _attribute(_IFLA_XDP_FD, struct.pack("=i", prog_fd)) + _attribute(_IFLA_XDP_FLAGS, struct.pack("=I", flags))
    body = _INFO.pack(socket.AF_UNSPEC, 0, interface, 0, 0) + _attribute(_IFLA_XDP | _NLA_F_NESTED, xdp)
    header = _HEADER.pack(_HEADER.size + len(body), _RTM_SETLINK, _NLM_F_REQUEST | _NLM_F_ACK, _SEQUENCE, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(header + body)
        answer = netlink.recv(65536)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    (result,) = struct.unpack_from("=i", answer, _HEADER.size)
    if kind != _NLMSG_ERROR:
        result = -errno.EPROTO
    if result:
        raise KernelError(f"cannot set the XDP program of interface {interface}: {os.strerror(-result)}", errno=-result)


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data.ljust((len(data) + 3) & ~3, b"\0")
