"""The few functions of libbcc that scripts call directly (``bcc.libbcc`` of the scripts, or ``bcc.lib``)."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable

from trapline.bcc.failures import NotOfferedError
from trapline.bcc.libraries import find_binary
from trapline.bcc.names import Name, to_bytes, to_text
from trapline.engine import network
from trapline.engine.machine import machine
from trapline.errors import TraplineError
from trapline.hints import Any, NoReturn


class bcc_symbol(ct.Structure):
    """A resolved symbol: `offset` is its address in the file `module`."""

    _fields_ = [
        ("name", ct.c_char_p),
        ("demangle_name", ct.c_char_p),
        ("module", ct.POINTER(ct.c_char)),
        ("offset", ct.c_ulonglong),
    ]


class bcc_symbol_option(ct.Structure):
    """What to look for: `use_symbol_type` has a bit for each ``STT_…`` that counts, 0 for functions."""

    _fields_ = [
        ("use_debug_file", ct.c_int),
        ("check_debug_file_crc", ct.c_int),
        ("lazy_symbolize", ct.c_int),
        ("use_symbol_type", ct.c_uint),
    ]


class bpf_test_run_opts(ct.Structure):
    """What a program is run on, and what came of it."""

    _fields_ = [
        ("sz", ct.c_size_t),
        ("data_in", ct.c_void_p),
        ("data_out", ct.c_void_p),
        ("data_size_in", ct.c_uint32),
        ("data_size_out", ct.c_uint32),
        ("ctx_in", ct.c_void_p),
        ("ctx_out", ct.c_void_p),
        ("ctx_size_in", ct.c_uint32),
        ("ctx_size_out", ct.c_uint32),
        ("retval", ct.c_uint32),
        ("repeat", ct.c_int),
        ("duration", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("cpu", ct.c_uint32),
        ("batch_size", ct.c_uint32),
    ]


class Library:
    """Stands for the shared library: functions return 0 or what is asked for, and a negative number for a failure."""

    def bpf_table_fd(self, module: Any, name: Name) -> int:
        """Return the descriptor of a table of ``BPF.module``; -1 if there is none."""
        try:
            return int(module[name].map_fd)
        except KeyError:
            return -1

    def bpf_prog_attach(self, prog_fd: int, target_fd: int, attach_type: int, flags: int) -> int:
        """Attach a program to a cgroup or a socket map."""
        return _result(lambda: network.attach_to_object(prog_fd, target_fd, attach_type, flags))

    def bpf_prog_detach2(self, prog_fd: int, target_fd: int, attach_type: int) -> int:
        """Undo `bpf_prog_attach`."""
        return _result(lambda: network.detach_from_object(prog_fd, target_fd, attach_type))

    def bpf_prog_test_run(
        self,
        prog_fd: int,
        repeat: int,
        data: Any,
        size: int,
        data_out: Any,
        size_out: Any,
        retval: Any,
        duration: Any,
    ) -> int:
        """Run a program on a packet.

        Args:
            prog_fd: the program.
            repeat: how often.
            data, size: the packet.
            data_out: room for what the program made of it, or ``None``.
            size_out, retval, duration: references to what gets its size, the program's result, and the time that it
                took on the average, in nanoseconds; or ``None``.
        """
        opts = bpf_test_run_opts(data_in=_address(data), data_size_in=size, data_out=_address(data_out), repeat=repeat)
        result = self.bpf_prog_test_run_opts(prog_fd, ct.byref(opts))
        for reference, value in ((size_out, opts.data_size_out), (retval, opts.retval), (duration, opts.duration)):
            if reference is not None:
                ct.cast(reference, ct.POINTER(ct.c_uint32))[0] = value
        return result

    def bpf_prog_test_run_opts(self, prog_fd: int, opts: Any) -> int:
        """Run a program as a `bpf_test_run_opts` says, which `opts` refers to."""
        found = ct.cast(opts, ct.POINTER(bpf_test_run_opts)).contents
        names = [field[0] for field in bpf_test_run_opts._fields_[1:]]
        arguments = {name: getattr(found, name) or 0 for name in names}
        result = network.test_run(prog_fd, arguments)
        for name, value in arguments.items():
            setattr(found, name, value)
        return result

    def bcc_resolve_symname(self, module: Name, symname: Name, addr: int, pid: int, option: Any, sym: Any) -> int:
        """Find a symbol of a program or library; -1 if there is none.

        Args:
            module: a path, or a library's short name.
            symname: the symbol.
            addr: its address, if that is known.
            pid: the process whose view of the files counts; 0 for ours.
            option: reference to a `bcc_symbol_option`, or ``None``.
            sym: reference to the `bcc_symbol` that is filled in.
        """
        path = find_binary(to_text(module), pid)
        types = option._obj.use_symbol_type if option else 0
        address = addr or (machine().symbol_address(path, to_text(symname), types) if path else None)
        if path is None or not address:
            return -1
        found = sym._obj
        name = ct.create_string_buffer(to_bytes(path))
        found.name, found.offset = to_bytes(symname), address
        found.module = ct.cast(name, ct.POINTER(ct.c_char))
        return 0

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotOfferedError(
            f"there is no libbcc, and so no {name}()", hint="use the methods of BPF and of its tables instead"
        )


def _address(data: Any) -> int:
    return 0 if data is None else ct.cast(data, ct.c_void_p).value or 0


def _result(call: Callable[[], None]) -> int:
    try:
        call()
    except TraplineError as error:
        return -(getattr(error, "errno", 0) or 1)
    return 0


lib = Library()
