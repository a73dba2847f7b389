"""`BPF`: what BCC scripts talk to.  Every method hands over to the module that has the duty."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence

from trapline.bcc import network, queries
from trapline.bcc.attach import KernelAttachments
from trapline.bcc.attach_user import UserAttachments
from trapline.bcc.compiling import compile_text, find_source_file, read_source, stage_printer
from trapline.bcc.constants import BPFAttachType, BPFProgType, XDPAction, XDPFlags
from trapline.bcc.ctypes_types import CType
from trapline.bcc.failures import BccError, LoadError, NotOfferedError
from trapline.bcc.layouts import format_layout
from trapline.bcc.names import SYSCALL_PREFIXES, Name, to_bytes, to_text
from trapline.bcc.perf import PerfBuffers
from trapline.bcc.perf_events import encode_attr
from trapline.bcc.probes import generate_auto_includes
from trapline.bcc.programs import Function, Programs
from trapline.bcc.ring import RingBuffers
from trapline.bcc.sharing import PUBLISHED
from trapline.bcc.table import Table, TableMaker
from trapline.bcc.trace import TraceFields, TracePipe
from trapline.engine.dynamic import DynamicObject
from trapline.engine.machine import machine
from trapline.errors import KernelError, PrivilegeError
from trapline.hints import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from trapline.bcc.programs import Function as LoadedFunction
    from trapline.bcc.table_kinds import Reducer


class BPF(BPFProgType):
    """A compiled C text: its programs, tables, attachments and output.

    Functions whose names say where they attach (``kprobe__F``, ``TRACEPOINT_PROBE`` …) are loaded and attached at
    once, the others when a method names them.  Everything is released by `cleanup`, at the latest at the process's end.

    Args:
        src_file: path of a C file; looked for in the current directory, then beside the script.
        hdr_file: accepted for old scripts; only checked for existence.
        text: the C text itself.
        debug: `DEBUG_LLVM_IR` and the like: print stages of the compilation to stderr.
        cflags: ``-D``, ``-I`` and other options for the C parser.
        usdt_contexts: `USDT` objects; their enabled probes are attached at once.
        allow_rlimit: accepted; the locked-memory limit is raised where the kernel counts BPF memory by it.
        device: network device for hardware offload; not offered.
        attach_usdt_ignore_pid: attach the probes of `usdt_contexts` in every process.

    Raises:
        BccError: the text does not compile, or a function with a telling name cannot be loaded or attached.
    """

    XDP_ABORTED = XDPAction.XDP_ABORTED
    XDP_DROP = XDPAction.XDP_DROP
    XDP_PASS = XDPAction.XDP_PASS
    XDP_TX = XDPAction.XDP_TX
    XDP_REDIRECT = XDPAction.XDP_REDIRECT
    XDP_FLAGS_UPDATE_IF_NOEXIST = XDPFlags.UPDATE_IF_NOEXIST
    XDP_FLAGS_SKB_MODE = XDPFlags.SKB_MODE
    XDP_FLAGS_DRV_MODE = XDPFlags.DRV_MODE
    XDP_FLAGS_HW_MODE = XDPFlags.HW_MODE
    XDP_FLAGS_REPLACE = XDPFlags.REPLACE
    CLOCK_MONOTONIC = 1

    Function = Function
    Table = Table
    AttachType = BPFAttachType

    _syscall_prefixes = [to_bytes(prefix) for prefix in SYSCALL_PREFIXES]

    def __init__(
        self,
        src_file: Name = b"",
        hdr_file: Name = b"",
        text: Name | None = None,
        debug: int = 0,
        cflags: Sequence[str] = (),
        usdt_contexts: Sequence[Any] = (),
        allow_rlimit: bool = True,
        device: Name | None = None,
        attach_usdt_ignore_pid: bool = False,
    ) -> None:
        readers = ""
        if usdt_contexts:
            from trapline.bcc import usdt  # few scripts have some

            contexts = usdt.check_contexts(usdt_contexts)
            readers = usdt.write_text(contexts)
        if device is not None:
            raise NotOfferedError("offloading programs to a network device is not offered")
        if hdr_file and not os.path.isfile(to_text(hdr_file)):
            raise BccError(f"Could not find file {to_text(hdr_file)}")
        self.debug = debug
        self.tables: dict[Any, Any] = {}
        self._closed = False
        source = read_source(src_file, text, readers)
        result = compile_text(source, machine(), cflags, PUBLISHED, stage_printer(debug))
        self._infos = result.tables
        try:
            self._object = DynamicObject(
                result.object,
                machine(),
                externs={name: PUBLISHED.handle(name) for name, i in result.tables.items() if i.scope == "extern"},
                pins={name: info.pinned for name, info in result.tables.items() if info.scope == "pinned"},
            )
        except PrivilegeError as error:
            raise LoadError(f"Need super-user privileges to run: {error.message}", hint=error.hint) from error
        except KernelError as error:
            raise LoadError(f"Failed to create tables: {error.message}", hint=error.hint) from error
        atexit.register(self.cleanup)
        for name, info in result.tables.items():
            if info.scope in ("public", "shared"):
                PUBLISHED.publish(info, self._object.maps[name])
        self._programs = Programs(self, self._object, result.programs, debug)
        self._perf = PerfBuffers()
        self._rings = RingBuffers()
        self._tables = TableMaker(self._perf, self._rings, machine().open_perf_ring, machine().open_counter)
        self._trace = TracePipe(machine().trace_pipe_path)
        self._kernel = KernelAttachments(self._object, self._programs, self.get_kprobe_functions, self.get_tracepoints)
        self._user = UserAttachments(self._object, self._programs, machine())
        try:
            if usdt_contexts:
                usdt.attach_contexts(contexts, self._user.attach_usdt, ignore_pid=attach_usdt_ignore_pid)
            self._kernel.autoload(lambda name: to_text(self.fix_syscall_fnname(name)))
        except BaseException:
            self.cleanup()
            raise

    # -- life

    def __enter__(self) -> BPF:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Detach everything and release it; calling it twice is allowed."""
        if self._closed:
            return
        self._closed = True
        self._object.detach()
        self._kernel.close()
        self._user.close()
        for table in self.tables.values():
            close = getattr(table, "close", None)
            if close is not None:
                close()
        self._perf.close()
        self._rings.close()
        self._trace.close()
        self._programs.close()
        PUBLISHED.withdraw(self._object.maps.values())
        self._object.close()
        atexit.unregister(self.cleanup)

    def close(self) -> None:
        """Close the descriptors of the loaded programs; what is attached stays attached."""
        self._programs.close()

    def free_bcc_memory(self) -> int:
        """Do nothing: no compiler stays in memory for this object."""
        return 0

    # -- functions

    @property
    def module(self) -> BPF:
        """What functions of libbcc take for the compiled text: the object itself."""
        return self

    @property
    def funcs(self) -> dict[bytes, LoadedFunction]:
        """The loaded functions by name."""
        return self._programs.loaded

    def load_func(
        self, func_name: Name, prog_type: int, device: Name | None = None, attach_type: int = -1
    ) -> LoadedFunction:
        """Load a function as a program of a type (`BPF.KPROBE` …) and return it; later calls return the same."""
        if device is not None:
            raise NotOfferedError("offloading programs to a network device is not offered")
        expected = _ATTACH_NAMES.get(attach_type, "")
        return self._programs.load(func_name, prog_type, expected)

    def load_funcs(self, prog_type: int = BPFProgType.KPROBE) -> list[LoadedFunction]:
        """Load all functions as programs of one type."""
        return self._programs.load_all(prog_type)

    def dump_func(self, func_name: Name) -> bytes:
        """Return a function's bytecode."""
        return self._programs.dump(func_name)

    def disassemble_func(self, func_name: Name) -> str:
        """Return a function's bytecode as text."""
        return self._programs.disassemble(func_name)

    # -- tables

    def get_table(
        self, name: Name, keytype: CType = None, leaftype: CType = None, reducer: Reducer | None = None
    ) -> Any:
        """Return a new table object for a map.

        Args:
            name: its C name.
            keytype, leaftype: ctypes classes to use instead of the C types'.
            reducer: combines the CPUs' leaves of a per-CPU table.

        Raises:
            KeyError: there is no such table.
        """
        info = self._infos.get(to_text(name))
        if info is None:
            raise KeyError(name)
        return self._tables.make(info, self._object.maps[info.name], keytype, leaftype, reducer)

    def decode_table(self, table_name: Name, sizeinfo: bool = False) -> str:
        """Return the layout of a table's keys and leaves as text, with offsets and sizes if `sizeinfo`."""
        name = to_text(table_name)
        if name not in self._infos:
            raise KeyError(table_name)
        return format_layout(
            self._infos[name], self._object.maps[name].fd, list(self._infos).index(name), sizes=sizeinfo
        )

    def __getitem__(self, key: Name) -> Any:
        try:
            return self.tables[key]
        except KeyError:
            self.tables[key] = table = self.get_table(key)
            return table

    def __setitem__(self, key: Name, leaf: Any) -> None:
        self.tables[key] = leaf

    def __delitem__(self, key: Name) -> None:
        del self.tables[key]

    def __len__(self) -> int:
        return len(self.tables)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tables)

    # -- attaching to the kernel

    def attach_kprobe(self, event: Name = b"", event_off: int = 0, fn_name: Name = b"", event_re: Name = b"") -> None:
        """Run `fn_name` when the kernel function `event` is entered (or reaches byte `event_off`).

        `event_re` attaches to every traceable function that the regular expression matches completely.
        """
        self._kernel.attach_kprobe(event, fn_name, event_re, offset=event_off)

    def attach_kretprobe(
        self, event: Name = b"", fn_name: Name = b"", event_re: Name = b"", maxactive: int = 0
    ) -> None:
        """Run `fn_name` when the kernel function `event` returns; see `attach_kprobe`."""
        self._kernel.attach_kprobe(event, fn_name, event_re, retprobe=True, maxactive=maxactive)

    def detach_kprobe(self, event: Name, fn_name: Name | None = None) -> None:
        """Undo `attach_kprobe` for one function, or for all that are attached there."""
        self._kernel.detach_kprobe(event, fn_name)

    def detach_kretprobe(self, event: Name, fn_name: Name | None = None) -> None:
        """Undo `attach_kretprobe` for one function, or for all that are attached there."""
        self._kernel.detach_kprobe(event, fn_name, retprobe=True)

    def detach_kprobe_event(self, ev_name: Name) -> None:
        """Detach by event name: ``p_EVENT`` or ``r_EVENT``."""
        self._kernel.detach_kprobe_event(ev_name)

    def detach_kprobe_event_by_fn(self, ev_name: Name, fn_name: Name) -> None:
        """Detach one function by event name."""
        self._kernel.detach_kprobe_event(ev_name, fn_name)

    def attach_tracepoint(self, tp: Name = b"", tp_re: Name = b"", fn_name: Name = b"") -> None:
        """Run `fn_name` at the tracepoint ``category:name``, or at all whose names `tp_re` matches."""
        self._kernel.attach_tracepoint(tp, tp_re, fn_name)

    def detach_tracepoint(self, tp: Name = b"") -> None:
        """Undo `attach_tracepoint`."""
        self._kernel.detach_tracepoint(tp)

    def attach_raw_tracepoint(self, tp: Name = b"", fn_name: Name = b"") -> None:
        """Run `fn_name` at a raw tracepoint."""
        self._kernel.attach_raw_tracepoint(tp, fn_name)

    def detach_raw_tracepoint(self, tp: Name = b"") -> None:
        """Undo `attach_raw_tracepoint`."""
        self._kernel.detach_raw_tracepoint(tp)

    def attach_kfunc(self, fn_name: Name = b"") -> None:
        """Attach a ``KFUNC_PROBE`` (fentry)."""
        self._kernel.attach_trampoline(fn_name, "fentry")

    def attach_kretfunc(self, fn_name: Name = b"") -> None:
        """Attach a ``KRETFUNC_PROBE`` (fexit)."""
        self._kernel.attach_trampoline(fn_name, "fexit")

    def attach_fmod_ret(self, fn_name: Name = b"") -> None:
        """Attach a ``KMOD_RET`` program."""
        self._kernel.attach_trampoline(fn_name, "fmod_ret")

    def attach_lsm(self, fn_name: Name = b"") -> None:
        """Attach an ``LSM_PROBE``."""
        self._kernel.attach_trampoline(fn_name, "lsm")

    def detach_kfunc(self, fn_name: Name = b"") -> None:
        """Undo `attach_kfunc`."""
        self._kernel.detach_trampoline(fn_name, "fentry")

    def detach_kretfunc(self, fn_name: Name = b"") -> None:
        """Undo `attach_kretfunc`."""
        self._kernel.detach_trampoline(fn_name, "fexit")

    def detach_fmod_ret(self, fn_name: Name = b"") -> None:
        """Undo `attach_fmod_ret`."""
        self._kernel.detach_trampoline(fn_name, "fmod_ret")

    def detach_lsm(self, fn_name: Name = b"") -> None:
        """Undo `attach_lsm`."""
        self._kernel.detach_trampoline(fn_name, "lsm")

    def run_iter(self, fn_name: Name) -> bytes:
        """Run a ``BPF_ITER`` function over all objects of its kind; return what it wrote with ``bpf_seq_write``.

        BCC itself offers iterators to C++ programs only.
        """
        return self._kernel.run_iterator(fn_name)

    def attach_perf_event(
        self,
        ev_type: int = -1,
        ev_config: int = -1,
        fn_name: Name = b"",
        sample_period: int = 0,
        sample_freq: int = 0,
        pid: int = -1,
        cpu: int = -1,
        group_fd: int = -1,
    ) -> None:
        """Run `fn_name` at every sample of a perf event (`PerfType`, `PerfSWConfig` …)."""
        self._kernel.attach_perf_event(
            ev_type,
            ev_config,
            fn_name,
            sample_period=sample_period,
            sample_freq=sample_freq,
            pid=pid,
            cpu=cpu,
            group_fd=group_fd,
        )

    def attach_perf_event_raw(
        self, attr: Any, fn_name: Name = b"", pid: int = -1, cpu: int = -1, group_fd: int = -1
    ) -> None:
        """Run `fn_name` at every sample of the perf event that a `bcc.perf.Perf.perf_event_attr` describes."""
        self._kernel.attach_perf_event(
            attr.type, attr.config, fn_name, pid=pid, cpu=cpu, attr=encode_attr(attr), group_fd=group_fd
        )

    def detach_perf_event(self, ev_type: int = -1, ev_config: int = -1) -> None:
        """Undo `attach_perf_event`."""
        self._kernel.detach_perf_event(ev_type, ev_config)

    # -- attaching to programs

    def attach_uprobe(
        self,
        name: Name = b"",
        sym: Name = b"",
        sym_re: Name = b"",
        addr: int | None = None,
        fn_name: Name = b"",
        pid: int = -1,
        sym_off: int = 0,
    ) -> None:
        """Run `fn_name` when a function of a program or library (a path, or ``c`` for libc) is entered."""
        self._user.attach(name, fn_name, sym=sym, sym_re=sym_re, addr=addr, pid=pid, sym_off=sym_off)

    def attach_uretprobe(
        self,
        name: Name = b"",
        sym: Name = b"",
        sym_re: Name = b"",
        addr: int | None = None,
        fn_name: Name = b"",
        pid: int = -1,
    ) -> None:
        """Run `fn_name` when a function of a program or library returns."""
        self._user.attach(name, fn_name, sym=sym, sym_re=sym_re, addr=addr, pid=pid, retprobe=True)

    def detach_uprobe(
        self, name: Name = b"", sym: Name = b"", addr: int | None = None, pid: int = -1, sym_off: int = 0
    ) -> None:
        """Undo `attach_uprobe`."""
        self._user.detach(name, sym=sym, addr=addr, pid=pid, sym_off=sym_off)

    def detach_uretprobe(self, name: Name = b"", sym: Name = b"", addr: int | None = None, pid: int = -1) -> None:
        """Undo `attach_uretprobe`."""
        self._user.detach(name, sym=sym, addr=addr, pid=pid, retprobe=True)

    def detach_uprobe_event(self, ev_name: Name) -> None:
        """Detach by event name, as in `uprobe_fds`."""
        self._user.detach_event(ev_name)

    # -- what is open

    @property
    def kprobe_fds(self) -> dict[bytes, dict[bytes, Any]]:
        """Open kprobes and kretprobes: event name → function → link."""
        return self._kernel.kprobes.links

    @property
    def uprobe_fds(self) -> dict[bytes, Any]:
        """Open uprobes: event name → functions."""
        return self._user.probes.links

    @property
    def tracepoint_fds(self) -> dict[bytes, Any]:
        """Open tracepoints: ``category:name`` → functions."""
        return self._kernel.tracepoints.links

    @property
    def raw_tracepoint_fds(self) -> dict[bytes, Any]:
        """Open raw tracepoints: name → functions."""
        return self._kernel.raw_tracepoints.links

    def num_open_kprobes(self) -> int:
        """Return how many kprobe and kretprobe events this object has open."""
        return len(self._kernel.kprobes)

    def num_open_uprobes(self) -> int:
        """Return how many uprobe and uretprobe events this object has open."""
        return len(self._user.probes)

    def num_open_tracepoints(self) -> int:
        """Return how many tracepoints this object has open."""
        return len(self._kernel.tracepoints)

    # -- output

    def trace_open(self, nonblocking: bool = False) -> BinaryIO:
        """Return the opened trace pipe; see `trapline.bcc.trace`."""
        return self._trace.open(nonblocking)

    def trace_readline(self, nonblocking: bool = False) -> bytes | None:
        """Return the next line of the trace pipe."""
        return self._trace.readline(nonblocking)

    def trace_fields(self, nonblocking: bool = False) -> TraceFields:
        """Return (task, pid, cpu, flags, seconds, message) of the next line of the trace pipe."""
        return self._trace.fields(nonblocking)

    def trace_print(self, fmt: str | None = None) -> None:
        """Print the trace pipe without end; `fmt` is a ``str.format`` text over the fields."""
        self._trace.print(fmt)

    def perf_buffer_poll(self, timeout: int = -1) -> None:
        """Wait for samples in any open perf buffer, at most `timeout` milliseconds, and run the callbacks."""
        self._perf.poll(timeout)

    def perf_buffer_consume(self) -> None:
        """Run the callbacks for the samples that are there."""
        self._perf.consume()

    def kprobe_poll(self, timeout: int = -1) -> None:
        """Do what `perf_buffer_poll` does, under its old name."""
        self._perf.poll(timeout)

    def ring_buffer_poll(self, timeout: int = -1) -> None:
        """Wait for records in any open ring buffer, at most `timeout` milliseconds, and run the callbacks."""
        self._rings.poll(timeout)

    def ring_buffer_consume(self) -> None:
        """Run the callbacks for the records that are there."""
        self._rings.consume()

    # -- questions about the machine

    get_syscall_prefix = staticmethod(queries.get_syscall_prefix)
    get_syscall_fnname = staticmethod(queries.get_syscall_fnname)
    fix_syscall_fnname = staticmethod(queries.fix_syscall_fnname)
    get_kprobe_functions = staticmethod(queries.get_kprobe_functions)
    get_tracepoints = staticmethod(queries.get_tracepoints)
    tracepoint_exists = staticmethod(queries.tracepoint_exists)
    get_probe_limit = staticmethod(queries.get_probe_limit)
    support_kfunc = staticmethod(queries.support_kfunc)
    support_fmod_ret = staticmethod(queries.support_fmod_ret)
    support_lsm = staticmethod(queries.support_lsm)
    support_raw_tracepoint = staticmethod(queries.support_raw_tracepoint)
    support_raw_tracepoint_in_module = staticmethod(queries.support_raw_tracepoint_in_module)
    kernel_struct_has_field = staticmethod(queries.kernel_struct_has_field)
    kernel_enum_has_val = staticmethod(queries.kernel_enum_has_val)
    sym = staticmethod(queries.sym)
    ksym = staticmethod(queries.ksym)
    ksymname = staticmethod(queries.ksymname)
    add_module = staticmethod(queries.add_module)
    get_user_functions = staticmethod(queries.get_user_functions)
    get_user_addresses = staticmethod(queries.get_user_addresses)
    get_user_functions_and_addresses = staticmethod(queries.get_user_functions_and_addresses)
    find_exe = staticmethod(queries.find_exe)
    find_library = staticmethod(queries.find_library)
    monotonic_time = staticmethod(queries.monotonic_time)
    generate_auto_includes = staticmethod(generate_auto_includes)
    attach_xdp = staticmethod(network.attach_xdp)
    remove_xdp = staticmethod(network.remove_xdp)
    attach_raw_socket = staticmethod(network.attach_raw_socket)
    attach_func = staticmethod(network.attach_func)
    detach_func = staticmethod(network.detach_func)
    _sym_cache = staticmethod(queries.symbol_cache)
    _find_file = staticmethod(find_source_file)


_ATTACH_NAMES = {number: name for name, number in vars(BPFAttachType).items() if not name.startswith("_")}
