"""bpf(2): one typed function per command."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from trapline.abi import bpf as abi
from trapline.errors import KernelError
from trapline.syscall.fd import Fd
from trapline.syscall.libc import syscall

_EAGAIN_RETRIES = 4


class Attr:
    """``union bpf_attr`` under construction; keeps what it points to alive.

    Args:
        size: bytes; fields beyond it are zero, which every kernel accepts.
    """

    __slots__ = ("_keep", "buffer")

    def __init__(self, size: int) -> None:
        self.buffer = ctypes.create_string_buffer(size)
        self._keep: list[object] = []

    def u32(self, offset: int, value: int) -> Attr:
        """Store a 32-bit integer."""
        struct.pack_into("<I", self.buffer, offset, value & 0xFFFFFFFF)
        return self

    def u64(self, offset: int, value: int) -> Attr:
        """Store a 64-bit integer."""
        struct.pack_into("<Q", self.buffer, offset, value & 0xFFFFFFFFFFFFFFFF)
        return self

    def pointer(self, offset: int, data: bytes | ctypes.Array[ctypes.c_char]) -> Attr:
        """Store the address of `data`: of the array itself, or of a copy of the bytes."""
        array = ctypes.create_string_buffer(data, max(len(data), 1)) if isinstance(data, bytes) else data
        self._keep.append(array)
        return self.u64(offset, ctypes.addressof(array))

    def text(self, offset: int, text: str) -> Attr:
        """Store the address of a NUL-terminated copy of `text`."""
        return self.pointer(offset, text.encode() + b"\0")

    def name(self, offset: int, name: str) -> Attr:
        """Store an object name: at most 15 bytes, of the characters that the kernel allows."""
        clean = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
        struct.pack_into("15s", self.buffer, offset, clean.encode()[: abi.BPF_OBJ_NAME_LEN - 1])
        return self

    def get_u32(self, offset: int) -> int:
        """Return the 32-bit integer at `offset` (results)."""
        value: int = struct.unpack_from("<I", self.buffer, offset)[0]
        return value


def bpf(command: int, attr: Attr) -> int:
    """Make the call; return its result (a descriptor or 0), or ``-errno``.  EINTR and EAGAIN are tried again."""
    address, size = ctypes.addressof(attr.buffer), len(attr.buffer)
    for _ in range(_EAGAIN_RETRIES):
        result = syscall("bpf", command, address, size)
        # The verifier gives up with EAGAIN when a signal is pending.
        if result != -errno.EAGAIN or command != abi.BPF_PROG_LOAD:
            return result
    # A timer can fire more often than a program is verified.
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return syscall("bpf", command, address, size)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def failure(what: str, result: int) -> KernelError:
    """Return the error for a call that returned ``-errno``."""
    return KernelError(f"{what}: {os.strerror(-result)}", errno=-result)


def _checked(command: int, attr: Attr, what: str) -> int:
    result = bpf(command, attr)
    if result < 0:
        raise failure(what, result)
    return result


# ---------------------------------------------------------------- maps


def create_map(
    type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    name: str = "",
    inner_fd: int = -1,
    btf: tuple[int, int, int] | None = None,
) -> Fd:
    """BPF_MAP_CREATE; `btf` is the descriptor of the map's types and the ids of key and value.

    Raises:
        KernelError: the kernel refused; EPERM without CAP_BPF, E2BIG or ENOMEM when it is too large.
    """
    attr = Attr(72).u32(0, type).u32(4, key_size).u32(8, value_size).u32(12, max_entries).u32(16, flags)
    if inner_fd >= 0:
        attr.u32(20, inner_fd)
    attr.name(28, name)
    if btf is not None:
        attr.u32(48, btf[0]).u32(52, btf[1]).u32(56, btf[2])
    return Fd(_checked(abi.BPF_MAP_CREATE, attr, f"cannot create map {name}"), f"map {name}")


def lookup_elem(fd: int, key: bytes, value_size: int, flags: int = 0) -> bytes | None:
    """BPF_MAP_LOOKUP_ELEM: the value (every CPU's part for per-CPU maps), or ``None`` when there is no such key."""
    value = ctypes.create_string_buffer(max(value_size, 1))
    attr = Attr(32).u32(0, fd).pointer(16, value).u64(24, flags)
    if key:  # a queue or stack has none: the lookup peeks
        attr.pointer(8, key)
    result = bpf(abi.BPF_MAP_LOOKUP_ELEM, attr)
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise failure("cannot look up a map element", result)
    return value.raw[:value_size]


def lookup_and_delete_elem(fd: int, key: bytes, value_size: int) -> bytes | None:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM; an empty `key` pops a queue or stack.  Needs Linux 5.14 for hashes."""
    value = ctypes.create_string_buffer(max(value_size, 1))
    attr = Attr(32).u32(0, fd).pointer(16, value)
    if key:
        attr.pointer(8, key)
    result = bpf(abi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr)
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise failure("cannot take a map element", result)
    return value.raw[:value_size]


def update_elem(fd: int, key: bytes, value: bytes, flags: int = abi.BPF_ANY) -> None:
    """BPF_MAP_UPDATE_ELEM; an empty `key` pushes to a queue or stack."""
    attr = Attr(32).u32(0, fd).pointer(16, value).u64(24, flags)
    if key:
        attr.pointer(8, key)
    _checked(abi.BPF_MAP_UPDATE_ELEM, attr, "cannot update a map element")


def delete_elem(fd: int, key: bytes) -> bool:
    """BPF_MAP_DELETE_ELEM; return whether there was such a key."""
    result = bpf(abi.BPF_MAP_DELETE_ELEM, Attr(32).u32(0, fd).pointer(8, key))
    if result == -errno.ENOENT:
        return False
    if result < 0:
        raise failure("cannot delete a map element", result)
    return True


def get_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """BPF_MAP_GET_NEXT_KEY: the key after `key`, the first for ``None``; ``None`` at the end."""
    following = ctypes.create_string_buffer(max(key_size, 1))
    attr = Attr(32).u32(0, fd).pointer(16, following)
    if key is not None:
        attr.pointer(8, key)
    result = bpf(abi.BPF_MAP_GET_NEXT_KEY, attr)
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise failure("cannot iterate a map", result)
    return following.raw[:key_size]


def batch(
    command: int,
    fd: int,
    position: ctypes.Array[ctypes.c_char] | None,
    next_position: ctypes.Array[ctypes.c_char] | None,
    keys: ctypes.Array[ctypes.c_char],
    values: ctypes.Array[ctypes.c_char] | None,
    count: int,
) -> tuple[int, int]:
    """BPF_MAP_{LOOKUP,LOOKUP_AND_DELETE,UPDATE,DELETE}_BATCH.

    Returns:
        The call's result (0 or ``-errno``; ``-ENOENT`` after the last element) and how many elements it handled.
    """
    attr = Attr(56).pointer(16, keys).u32(32, count).u32(36, fd)
    if position is not None:
        attr.pointer(0, position)
    if next_position is not None:
        attr.pointer(8, next_position)
    if values is not None:
        attr.pointer(24, values)
    result = bpf(command, attr)
    # On EFAULT and the like the kernel does not write the count back.
    handled = attr.get_u32(32) if result in (0, -errno.ENOENT, -errno.ENOSPC) else 0
    return result, handled


def freeze_map(fd: int) -> None:
    """BPF_MAP_FREEZE: no system call may change the map any more."""
    _checked(abi.BPF_MAP_FREEZE, Attr(32).u32(0, fd), "cannot freeze a map")


# ---------------------------------------------------------------- programs

_LOAD_ATTR_SIZE = 144


def load_program(
    type: int,
    code: bytes,
    *,
    license: str = "GPL",
    name: str = "",
    expected_attach: int = 0,
    flags: int = 0,
    attach_btf_id: int = 0,
    attach_btf_fd: int = 0,
    btf_fd: int = 0,
    func_info: bytes = b"",
    func_info_size: int = 8,
    fd_array: bytes = b"",
    log: ctypes.Array[ctypes.c_char] | None = None,
    log_level: int = 0,
) -> int:
    """BPF_PROG_LOAD; return the descriptor, or ``-errno``.

    Args:
        type, expected_attach: numbers of ``enum bpf_prog_type`` and ``enum bpf_attach_type``.
        code: the bytecode, map references patched.
        license: its licence; most tracing helpers want a GPL-compatible one.
        name: the kernel's name for it.
        flags: ``BPF_F_…`` of the program.
        attach_btf_id: BTF id of the function, tracepoint or iterator that a TRACING program is for.
        attach_btf_fd: descriptor of the module's BTF that the id is of (or of a program); 0 is vmlinux.
        btf_fd: descriptor of the program's own BTF.
        func_info: ``struct bpf_func_info[]``, `func_info_size` bytes each.
        fd_array: descriptors (s32 each) of module BTFs for kernel function calls.
        log: buffer for the verifier's log.
        log_level: 1 (the failing path), 2 (everything), 4 (statistics only); 0 without log.
    """
    attr = Attr(_LOAD_ATTR_SIZE).u32(0, type).u32(4, len(code) // 8).pointer(8, code).text(16, license)
    if log is not None and log_level:
        attr.u32(24, log_level).u32(28, len(log)).pointer(32, log)
    attr.u32(44, flags).name(48, name).u32(68, expected_attach)
    if btf_fd:
        attr.u32(72, btf_fd)
        if func_info:
            attr.u32(76, func_info_size).pointer(80, func_info).u32(88, len(func_info) // func_info_size)
    attr.u32(108, attach_btf_id).u32(112, attach_btf_fd)
    if fd_array:
        attr.pointer(120, fd_array)
    return bpf(abi.BPF_PROG_LOAD, attr)


def run_program(prog_fd: int, context: bytes = b"", data: bytes = b"", repeat: int = 0) -> tuple[int, int]:
    """BPF_PROG_TEST_RUN; return (return value of the program, average nanoseconds).

    Args:
        prog_fd: the program; of a type that the kernel can run without an event (RAW_TRACEPOINT, SYSCALL, XDP …).
        context: what the program's context points to.
        data: a packet, for the types that take one.
        repeat: how often; 0 is once.
    """
    attr = Attr(80).u32(0, prog_fd).u32(32, repeat)
    if data:
        attr.u32(8, len(data)).pointer(16, data)
    if context:
        attr.u32(40, len(context)).pointer(48, context)
    _checked(abi.BPF_PROG_TEST_RUN, attr, "cannot run the program")
    return attr.get_u32(4), attr.get_u32(36)


# Where BPF_PROG_TEST_RUN's arguments are: (name, offset in the union, bits).
_TEST_RUN = (
    ("retval", 4, 32),
    ("data_size_in", 8, 32),
    ("data_size_out", 12, 32),
    ("data_in", 16, 64),
    ("data_out", 24, 64),
    ("repeat", 32, 32),
    ("duration", 36, 32),
    ("ctx_size_in", 40, 32),
    ("ctx_size_out", 44, 32),
    ("ctx_in", 48, 64),
    ("ctx_out", 56, 64),
    ("flags", 64, 32),
    ("cpu", 68, 32),
    ("batch_size", 72, 32),
)
_TEST_RUN_RESULTS = ("retval", "data_size_out", "duration", "ctx_size_out")


def run_program_in_place(prog_fd: int, arguments: dict[str, int]) -> int:
    """BPF_PROG_TEST_RUN on the caller's memory; 0, or ``-errno``.

    Args:
        prog_fd: the program.
        arguments: of ``union bpf_attr``'s ``test`` by name, with addresses for pointers; it gets the results.
    """
    attr = Attr(80).u32(0, prog_fd)
    for name, offset, bits in _TEST_RUN:
        (attr.u32 if bits == 32 else attr.u64)(offset, arguments.get(name, 0))
    result = bpf(abi.BPF_PROG_TEST_RUN, attr)
    arguments.update((name, attr.get_u32(offset)) for name, offset, _ in _TEST_RUN if name in _TEST_RUN_RESULTS)
    return min(result, 0)


def load_btf(data: bytes, log: ctypes.Array[ctypes.c_char] | None = None) -> int:
    """BPF_BTF_LOAD; return the descriptor, or ``-errno``."""
    attr = Attr(32).pointer(0, data).u32(16, len(data))
    if log is not None:
        attr.pointer(8, log).u32(20, len(log)).u32(24, 1)
    return bpf(abi.BPF_BTF_LOAD, attr)


# ---------------------------------------------------------------- links


def create_perf_link(prog_fd: int, perf_fd: int, cookie: int = 0) -> int:
    """BPF_LINK_CREATE on a perf event (kprobe, uprobe, tracepoint, sampling); descriptor or ``-errno``.

    Needs Linux 5.15.
    """
    attr = Attr(48).u32(0, prog_fd).u32(4, perf_fd).u32(8, abi.ATTACH_TYPES["PERF_EVENT"]).u64(16, cookie)
    return bpf(abi.BPF_LINK_CREATE, attr)


def create_kprobe_multi_link(
    prog_fd: int,
    *,
    symbols: list[str] | None = None,
    addresses: list[int] | None = None,
    cookies: list[int] | None = None,
    retprobe: bool = False,
    session: bool = False,
) -> int:
    """BPF_LINK_CREATE of many kernel functions (by `symbols` or `addresses`); descriptor or ``-errno``.

    Needs Linux 5.18 with CONFIG_FPROBE; `session` needs Linux 6.10.
    """
    names, places = symbols or [], addresses or []
    if bool(names) == bool(places):
        raise ValueError("give either symbols or addresses")
    attach = "TRACE_KPROBE_SESSION" if session else "TRACE_KPROBE_MULTI"
    attr = Attr(64).u32(0, prog_fd).u32(8, abi.ATTACH_TYPES[attach])
    attr.u32(16, abi.BPF_F_KPROBE_MULTI_RETURN if retprobe else 0).u32(20, len(names) or len(places))
    keep: object = None
    if names:
        blob = ctypes.create_string_buffer(b"\0".join(n.encode() for n in names) + b"\0")
        pointers, position = [], ctypes.addressof(blob)
        for name in names:
            pointers.append(position)
            position += len(name.encode()) + 1
        attr.pointer(24, struct.pack(f"<{len(pointers)}Q", *pointers))
        keep = blob
    else:
        attr.pointer(32, struct.pack(f"<{len(places)}Q", *places))
    if cookies:
        attr.pointer(40, struct.pack(f"<{len(cookies)}Q", *cookies))
    result = bpf(abi.BPF_LINK_CREATE, attr)
    del keep
    return result


def create_uprobe_multi_link(
    prog_fd: int,
    path: str,
    offsets: list[int],
    *,
    counters: list[int] | None = None,
    cookies: list[int] | None = None,
    retprobe: bool = False,
    pid: int = 0,
) -> int:
    """BPF_LINK_CREATE of many places of a file; descriptor or ``-errno``.

    Args:
        prog_fd: the program.
        path: the file.
        offsets: places in the file, in bytes.
        counters: for each place the offset of its reference counter in the file, 0 for none.
        cookies: for each place what ``bpf_get_attach_cookie`` returns.
        retprobe: at the return of the functions that start there.
        pid: only this process; 0 for all.

    Needs Linux 6.6.
    """
    attr = Attr(64).u32(0, prog_fd).u32(8, abi.ATTACH_TYPES["TRACE_UPROBE_MULTI"])
    attr.pointer(16, os.fsencode(path) + b"\0").pointer(24, struct.pack(f"<{len(offsets)}Q", *offsets))
    if counters and any(counters):
        attr.pointer(32, struct.pack(f"<{len(counters)}Q", *counters))
    if cookies:
        attr.pointer(40, struct.pack(f"<{len(cookies)}Q", *cookies))
    attr.u32(48, len(offsets)).u32(52, abi.BPF_F_UPROBE_MULTI_RETURN if retprobe else 0).u32(56, max(pid, 0))
    return bpf(abi.BPF_LINK_CREATE, attr)


def create_link(prog_fd: int, attach_type: int, target_fd: int = 0, cookie: int = 0, *, info: bytes = b"") -> int:
    """BPF_LINK_CREATE of a TRACING program (fentry, fexit, LSM, iterator); descriptor or ``-errno``.

    Args:
        prog_fd: the program.
        attach_type: as it was loaded for.
        target_fd: another program, to attach to it.
        cookie: for trampolines, see ``bpf_get_attach_cookie``.
        info: of an iterator, ``union bpf_iter_link_info``.
    """
    attr = Attr(48).u32(0, prog_fd).u32(4, target_fd).u32(8, attach_type)
    if cookie:
        attr.u64(24, cookie)
    if info:
        attr.pointer(16, info).u32(24, len(info))
    return bpf(abi.BPF_LINK_CREATE, attr)


def create_xdp_link(prog_fd: int, interface: int, flags: int = 0) -> int:
    """BPF_LINK_CREATE of an XDP program on a network interface, given by its index; descriptor or ``-errno``.

    Needs Linux 5.9; `flags` are ``XDP_FLAGS_{SKB,DRV,HW}_MODE``.
    """
    attr = Attr(48).u32(0, prog_fd).u32(4, interface).u32(8, abi.ATTACH_TYPES["XDP"]).u32(12, flags)
    return bpf(abi.BPF_LINK_CREATE, attr)


def attach_program(prog_fd: int, target_fd: int, attach_type: int, flags: int = 0) -> int:
    """BPF_PROG_ATTACH to a cgroup or a socket map, which keeps the program; 0 or ``-errno``."""
    return bpf(abi.BPF_PROG_ATTACH, Attr(20).u32(0, target_fd).u32(4, prog_fd).u32(8, attach_type).u32(12, flags))


def detach_program(prog_fd: int, target_fd: int, attach_type: int) -> int:
    """BPF_PROG_DETACH, of what `attach_program` attached; 0 or ``-errno``."""
    return bpf(abi.BPF_PROG_DETACH, Attr(20).u32(0, target_fd).u32(4, prog_fd).u32(8, attach_type))


def open_raw_tracepoint(prog_fd: int, name: str = "") -> int:
    """BPF_RAW_TRACEPOINT_OPEN; without `name` for programs that know their target; descriptor or ``-errno``."""
    attr = Attr(24).u32(8, prog_fd)
    if name:
        attr.text(0, name)
    return bpf(abi.BPF_RAW_TRACEPOINT_OPEN, attr)


def create_iterator(link_fd: int) -> Fd:
    """BPF_ITER_CREATE: a descriptor whose reads run the iterator."""
    return Fd(_checked(abi.BPF_ITER_CREATE, Attr(8).u32(0, link_fd), "cannot start the iterator"), "iterator")


def detach_link(link_fd: int) -> int:
    """BPF_LINK_DETACH: detach now, whoever else holds the link; 0 or ``-errno``."""
    return bpf(abi.BPF_LINK_DETACH, Attr(8).u32(0, link_fd))


# ---------------------------------------------------------------- objects


def object_info(fd: int, size: int, request: bytes = b"") -> bytes:
    """BPF_OBJ_GET_INFO_BY_FD: as many bytes of ``struct bpf_{prog,map,btf,link}_info`` as the kernel fills in.

    Args:
        fd: the object.
        size: how many bytes are wanted at most.
        request: what the structure holds before the call (pointers and lengths that the kernel fills).
    """
    buffer = ctypes.create_string_buffer(request, size)
    attr = Attr(16).u32(0, fd).u32(4, size).pointer(8, buffer)
    _checked(abi.BPF_OBJ_GET_INFO_BY_FD, attr, "cannot query a BPF object")
    return buffer.raw[: attr.get_u32(4)]


def next_id(command: int, start: int) -> int | None:
    """BPF_{PROG,MAP,LINK,BTF}_GET_NEXT_ID: the id after `start` (0 for the first), ``None`` at the end."""
    attr = Attr(16).u32(0, start)
    result = bpf(command, attr)
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise failure("cannot list BPF objects", result)
    return attr.get_u32(4)


def open_by_id(command: int, number: int) -> Fd | None:
    """BPF_{PROG,MAP,LINK,BTF}_GET_FD_BY_ID; ``None`` when it is gone."""
    result = bpf(command, Attr(16).u32(0, number))
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise failure("cannot open a BPF object", result)
    return Fd(result, f"BPF object {number}")


def pin_object(fd: int, path: str) -> int:
    """BPF_OBJ_PIN: give an object a name in bpffs, which keeps it; return 0 or ``-errno``."""
    return bpf(abi.BPF_OBJ_PIN, Attr(16).text(0, path).u32(8, fd))


def get_object(path: str) -> int:
    """BPF_OBJ_GET: open an object by its name in bpffs; descriptor or ``-errno``."""
    return bpf(abi.BPF_OBJ_GET, Attr(16).text(0, path))


def read_btf_name(fd: int) -> str:
    """Return the name of a BTF object (``vmlinux``, a module's), or an empty string for a program's."""
    size = 64
    name = ctypes.create_string_buffer(size)
    request = bytearray(32)  # struct bpf_btf_info: name at 16, name_len at 24
    struct.pack_into("<QI", request, 16, ctypes.addressof(name), size)
    object_info(fd, 32, bytes(request))
    return name.value.decode(errors="replace")


def enable_stats() -> Fd:
    """BPF_ENABLE_STATS: run counts and times are kept while the descriptor is open."""
    return Fd(_checked(abi.BPF_ENABLE_STATS, Attr(4).u32(0, abi.BPF_STATS_RUN_TIME), "cannot enable statistics"))
