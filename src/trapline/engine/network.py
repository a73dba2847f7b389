"""Programs on network interfaces, sockets and cgroups.

Python's socket module is imported where it is used: few programs are of this kind, and it is a tenth of what a small
script waits for.
"""

from __future__ import annotations

import errno
import os

from trapline.abi.bpf import ATTACH_TYPES
from trapline.errors import AttachError, KernelError
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

XDP_UPDATE_IF_NOEXIST = 1 << 0
_XDP_MODES = 0b1110
_SO_ATTACH_BPF = 50
_ETH_P_ALL = 3


def interface_index(name: str) -> int:
    """Return the index of a network interface.

    Raises:
        AttachError: there is none of that name.
    """
    import socket

    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise AttachError(f"there is no network interface {name}", errno=error.errno or errno.ENODEV) from None


def attach_xdp(prog_fd: int, interface: str, flags: int = 0) -> Fd:
    """Let an interface run an XDP program, instead of what it runs; the program goes when the link is closed.

    Args:
        prog_fd: the program.
        interface: its name.
        flags: ``XDP_FLAGS_…``; UPDATE_IF_NOEXIST keeps what is there already.

    Raises:
        AttachError: the kernel refused.
    """
    index = interface_index(interface)
    mode = flags & _XDP_MODES
    result = bpf.create_xdp_link(prog_fd, index, mode)
    if result == -errno.EBUSY and not flags & XDP_UPDATE_IF_NOEXIST:
        detach_xdp(interface, mode)  # fails where a link of somebody else's holds it
        result = bpf.create_xdp_link(prog_fd, index, mode)
    if result < 0:
        hint = "another XDP program is attached there" if result in (-errno.EBUSY, -errno.EEXIST) else None
        raise AttachError(
            f"cannot attach an XDP program to {interface}: {os.strerror(-result)}", errno=-result, hint=hint
        )
    return Fd(result, f"XDP link of {interface}")


def detach_xdp(interface: str, flags: int = 0) -> None:
    """Take away the XDP program of an interface; nothing happens when there is none.

    Raises:
        AttachError: the kernel refused.
    """
    from trapline.syscall.netlink import set_xdp_program

    try:
        set_xdp_program(interface_index(interface), -1, flags & _XDP_MODES)
    except KernelError as error:
        if isinstance(error, AttachError):
            raise
        raise AttachError(
            f"cannot remove the XDP program of {interface}: {os.strerror(error.errno)}", errno=error.errno
        ) from None


def open_packet_socket(prog_fd: int, interface: str) -> int:
    """Open a raw socket that receives the packets of an interface that a SOCKET_FILTER program lets through.

    Args:
        prog_fd: the program.
        interface: its name; empty for all.

    Returns:
        The socket's descriptor, the caller's to close; reading does not block.

    Raises:
        AttachError: the kernel refused.
    """
    import socket

    if interface:
        interface_index(interface)
    try:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_PACKET, kind, 0) as opened:
            # First the filter, then the protocol: no packet passes unseen.
            opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, prog_fd)
            opened.bind((interface, _ETH_P_ALL))
            return opened.detach()
    except OSError as error:
        raise AttachError(
            f"cannot open a raw socket on {interface or 'all interfaces'}: {error.strerror}", errno=error.errno or 0
        ) from None


def attach_to_object(prog_fd: int, target_fd: int, attach_type: int, flags: int = 0) -> None:
    """Attach a program to a cgroup or a socket map, which keeps it; `attach_type` is of ``enum bpf_attach_type``.

    Raises:
        AttachError: the kernel refused.
    """
    result = bpf.attach_program(prog_fd, target_fd, attach_type, flags)
    if result < 0:
        raise AttachError(f"cannot attach as {_spell(attach_type)}: {os.strerror(-result)}", errno=-result)


def detach_from_object(prog_fd: int, target_fd: int, attach_type: int) -> None:
    """Undo `attach_to_object`.

    Raises:
        AttachError: the kernel refused.
    """
    result = bpf.detach_program(prog_fd, target_fd, attach_type)
    if result < 0:
        raise AttachError(f"cannot detach {_spell(attach_type)}: {os.strerror(-result)}", errno=-result)


def test_run(prog_fd: int, arguments: dict[str, int]) -> int:
    """Run a program on a packet, or what its type takes; see `trapline.syscall.bpf.run_program_in_place`."""
    return bpf.run_program_in_place(prog_fd, arguments)


def _spell(attach_type: int) -> str:
    return next((name for name, number in ATTACH_TYPES.items() if number == attach_type), str(attach_type))
