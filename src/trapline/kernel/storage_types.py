"""BTF of maps that the kernel creates only with types: storage in sockets, inodes, tasks and cgroups."""

from __future__ import annotations

import os

from trapline.errors import MapError
from trapline.hints import TYPE_CHECKING
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

if TYPE_CHECKING:
    from trapline.ir.spec import MapSpec

STORAGE_TYPES = frozenset({"SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE"})


def load_storage_types(spec: MapSpec) -> tuple[Fd, int, int]:
    """Load the types of a storage map: a key of four bytes, and a struct of as many bytes as the value has.

    Returns:
        The BTF's descriptor, to be closed once the map is there, and the ids of key and value.

    Raises:
        MapError: the kernel refuses it.
    """
    from trapline.btf.write import BtfBuilder

    builder = BtfBuilder()
    key = builder.add_int("int", 4, signed=True)
    byte = builder.add_int("char", 1, signed=True)
    value = builder.add_struct("value", spec.value_size, [("bytes", builder.add_array(byte, spec.value_size), 0)])
    result = bpf.load_btf(builder.build())
    if result < 0:
        raise MapError(f"cannot load the types of map {spec.name}: {os.strerror(-result)}", errno=-result)
    return Fd(result, f"types of map {spec.name}"), key, value
