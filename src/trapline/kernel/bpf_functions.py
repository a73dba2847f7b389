"""The functions of loaded BPF programs, which fentry and fexit can trace."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator

from trapline.abi import bpf as abi
from trapline.btf import Btf
from trapline.errors import KernelError, NoSuchProbeError
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

# struct bpf_prog_info: offsets of what is read here.
_INFO_SIZE = 160
_BTF_ID = 128
_RECORD_SIZE = 132
_RECORDS = 136
_RECORD_COUNT = 144
# struct bpf_btf_info {u64 btf; u32 btf_size; u32 id; u64 name; u32 name_len; u32 kernel_btf}
_BTF_INFO_SIZE = 32


def list_bpf_functions() -> Iterator[tuple[int, str]]:
    """Yield (program id, function) of every loaded program that has types; subprograms too."""
    number: int | None = 0
    while (number := bpf.next_id(abi.BPF_PROG_GET_NEXT_ID, number or 0)) is not None:
        for name in _functions_of(number):
            yield number, name


def find_bpf_function(program: int, name: str, held: list[Fd]) -> tuple[int, int]:
    """Return (BTF id of a function, descriptor of its program); the descriptor is added to `held`.

    Raises:
        NoSuchProbeError: there is no such program any more, or it has no such function.
    """
    found = _functions_of(program, held)
    if name not in found:
        raise NoSuchProbeError(f"there is no BPF program {program} with a function {name}", near=sorted(found))
    return found[name], held[-1].fileno()


def _functions_of(program: int, held: list[Fd] | None = None) -> dict[str, int]:
    """Return the BTF ids of a program's functions by name; keep its descriptor in `held`."""
    fd = bpf.open_by_id(abi.BPF_PROG_GET_FD_BY_ID, program)
    if fd is None:
        return {}
    try:
        found = _read_functions(fd.fileno())
    except BaseException:
        fd.close()
        raise
    if held is None or not found:
        fd.close()
    else:
        held.append(fd)
    return found


def _read_functions(fd: int) -> dict[str, int]:
    info = bpf.object_info(fd, _INFO_SIZE)
    if len(info) < _INFO_SIZE:
        return {}
    btf_id, size = struct.unpack_from("<II", info, _BTF_ID)
    (count,) = struct.unpack_from("<I", info, _RECORD_COUNT)
    if not btf_id or not count or size < 8:
        return {}
    records = ctypes.create_string_buffer(size * count)
    request = bytearray(_INFO_SIZE)
    struct.pack_into("<I", request, _RECORD_SIZE, size)
    struct.pack_into("<QI", request, _RECORDS, ctypes.addressof(records), count)
    bpf.object_info(fd, _INFO_SIZE, bytes(request))
    btf = _read_btf(btf_id)
    if btf is None:
        return {}
    # struct bpf_func_info {u32 insn_off; u32 type_id}
    ids = [struct.unpack_from("<I", records, index * size + 4)[0] for index in range(count)]
    return {btf.name_of(number): number for number in ids}


def _read_btf(number: int) -> Btf | None:
    fd = bpf.open_by_id(abi.BPF_BTF_GET_FD_BY_ID, number)
    if fd is None:
        return None
    with fd:
        try:
            (size,) = struct.unpack_from("<I", bpf.object_info(fd.fileno(), _BTF_INFO_SIZE), 8)
            data = ctypes.create_string_buffer(size)
            request = struct.pack("<QI20x", ctypes.addressof(data), size)
            bpf.object_info(fd.fileno(), _BTF_INFO_SIZE, request)
        except KernelError:
            return None
    return Btf(data.raw, name=f"program BTF {number}")
