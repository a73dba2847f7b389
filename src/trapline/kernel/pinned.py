"""Maps with a name in bpffs: opened where they are, created and pinned where they are not."""

from __future__ import annotations

import errno
import os
import struct

from trapline.abi.bpf import MAP_TYPES
from trapline.errors import MapError
from trapline.ir.spec import MapSpec
from trapline.kernel.map import Map
from trapline.records import replace
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

_HINT = "the path must lie in a mounted BPF file system (mount -t bpf bpf /sys/fs/bpf)"
_INFO = struct.Struct("<6I")  # struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags


def open_pinned_map(spec: MapSpec, path: str) -> Map:
    """Open the map that is pinned at `path`; create and pin it when there is none.

    The pin stays when the map is closed.  What is pinned decides the capacity and the flags.

    Args:
        spec: what is expected.
        path: in bpffs.

    Raises:
        MapError: a map of another kind is pinned there, or none can be.
        PrivilegeError: the process lacks CAP_BPF.
    """
    result = bpf.get_object(path)
    if result == -errno.ENOENT:
        return _create(spec, path)
    if result < 0:
        raise MapError(f"cannot open the pinned map {path}: {os.strerror(-result)}", errno=-result, hint=_HINT)
    fd = Fd(result, f"map {spec.name}")
    try:
        found = _INFO.unpack(bpf.object_info(result, _INFO.size))
        kind, _, key_size, value_size, max_entries, flags = found
        wanted = (MAP_TYPES[spec.type], spec.key_size, spec.value_size)
        if (kind, key_size, value_size) != wanted:
            names = {number: name for name, number in MAP_TYPES.items()}
            raise MapError(
                f"the map pinned at {path} does not fit {spec.name}: it is a {names.get(kind, kind)} with keys of"
                f" {key_size} and values of {value_size} bytes, not a {spec.type} of {spec.key_size} and"
                f" {spec.value_size}",
                errno=errno.EINVAL,
                hint="remove the file, or choose another path",
            )
    except BaseException:
        fd.close()
        raise
    return Map(replace(spec, max_entries=max_entries, flags=flags), fd)


def _create(spec: MapSpec, path: str) -> Map:
    created = Map.create(spec)
    result = bpf.pin_object(created.fileno(), path)
    if result < 0:
        created.close()
        raise MapError(f"cannot pin map {spec.name} to {path}: {os.strerror(-result)}", errno=-result, hint=_HINT)
    return created
