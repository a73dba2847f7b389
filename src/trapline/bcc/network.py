"""`BPF`'s static methods for network interfaces, sockets and cgroups."""

from __future__ import annotations

from trapline.bcc.failures import AttachError, BccError
from trapline.bcc.names import Name, to_text
from trapline.bcc.programs import Function
from trapline.errors import TraplineError
from trapline.hints import Any

# The XDP programs of this process, by interface; they go with their `BPF` object.
_links: dict[str, Any] = {}


def _checked(fn: Any) -> Function:
    if not isinstance(fn, Function):
        raise BccError("arg 1 must be of type BPF.Function", hint="give what load_func() returned")
    return fn


def attach_xdp(dev: Name, fn: Function, flags: int = 0) -> None:
    """Let a network interface run an XDP program, until `remove_xdp`, or the end of the program's `BPF` object.

    Args:
        dev: the interface's name.
        fn: what ``load_func(…, BPF.XDP)`` returned.
        flags: ``BPF.XDP_FLAGS_…``.

    Raises:
        AttachError: the kernel refused.
    """
    function, name = _checked(fn), to_text(dev)
    old = _links.pop(name, None)
    if old is not None:
        old.close()
    from trapline.engine import network  # few scripts need it

    try:
        link = network.attach_xdp(function.fd, name, flags)
    except TraplineError as error:
        raise AttachError(f"Failed to attach BPF to device {name}: {error.message}", hint=error.hint) from error
    _links[name] = link
    function.links.append(link)


def remove_xdp(dev: Name, flags: int = 0) -> None:
    """Take away an interface's XDP program, whoever attached it.

    Raises:
        AttachError: the kernel refused.
    """
    name = to_text(dev)
    link = _links.pop(name, None)
    if link is not None and not link.closed:
        link.close()
        return
    from trapline.engine import network  # few scripts need it

    try:
        network.detach_xdp(name, flags)
    except TraplineError as error:
        raise AttachError(f"Failed to detach BPF from device {name}: {error.message}", hint=error.hint) from error


def attach_raw_socket(fn: Function, dev: Name) -> None:
    """Open a raw socket on an interface, with a filter; ``fn.sock`` is its descriptor, which the script closes.

    Args:
        fn: what ``load_func(…, BPF.SOCKET_FILTER)`` returned.
        dev: the interface's name; empty for all.

    Raises:
        AttachError: the kernel refused.
    """
    function, name = _checked(fn), to_text(dev)
    from trapline.engine import network  # few scripts need it

    try:
        function.sock = network.open_packet_socket(function.fd, name)
    except TraplineError as error:
        raise AttachError(f"Failed to open raw device {name}: {error.message}", hint=error.hint) from error


def attach_func(fn: Function, attachable_fd: int, attach_type: int, flags: int = 0) -> None:
    """Attach a function to a cgroup or a socket map; it stays there until it is detached, or the cgroup goes.

    Args:
        fn: what ``load_func`` returned.
        attachable_fd: descriptor of the cgroup's directory, or of the map.
        attach_type: a constant of `BPFAttachType`.
        flags: ``BPF_F_ALLOW_OVERRIDE`` (1), ``BPF_F_ALLOW_MULTI`` (2).

    Raises:
        AttachError: the kernel refused.
    """
    from trapline.engine import network  # few scripts need it

    try:
        network.attach_to_object(_checked(fn).fd, attachable_fd, attach_type, flags)
    except TraplineError as error:
        raise AttachError(
            f"Failed to attach BPF function with attach_type {attach_type}: {error.message}", hint=error.hint
        ) from error


def detach_func(fn: Function, attachable_fd: int, attach_type: int) -> None:
    """Undo `attach_func`.

    Raises:
        AttachError: the kernel refused.
    """
    from trapline.engine import network  # few scripts need it

    try:
        network.detach_from_object(_checked(fn).fd, attachable_fd, attach_type)
    except TraplineError as error:
        raise AttachError(
            f"Failed to detach BPF function with attach_type {attach_type}: {error.message}", hint=error.hint
        ) from error
