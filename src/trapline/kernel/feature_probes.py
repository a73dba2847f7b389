"""How the features of `trapline.kernel.features` are found out: by loading small programs, making maps, linking."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import ExitStack

from trapline.abi import bpf as abi
from trapline.abi import perf as perf_abi
from trapline.abi.assembler import R0, R1, R2, R3, R4, R5, Assembler
from trapline.abi.helper_ids import HELPERS
from trapline.abi.perf import PerfEventAttr
from trapline.btf import Btf
from trapline.errors import KernelError, TargetError
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.machine import has_btf
from trapline.syscall.perf import open_perf_event

_NO_SUCH_FUNCTION = "trapline_no_such_function"
_INCONCLUSIVE = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
_RETURN_0 = Assembler().mov(R0, 0).exit().assemble()
_LINK_INFO_WITH_MISSED = 56
_LOG_SIZE = 1 << 14


def ask(name: str, load_btf: Callable[[], Btf]) -> bool | None:
    """Return whether the kernel has feature `name`; ``None`` when that cannot be found out.

    Args:
        name: as in `trapline.kernel.features`.
        load_btf: returns the kernel's types; asked only by features that need them.

    Raises:
        ValueError: no such feature name.
    """
    kind, _, detail = name.partition(":")
    if detail and kind == "helper":
        return probe_helper(detail)
    if detail and kind == "map":
        return probe_map_type(detail)
    if detail and kind == "iter":
        return _probe_iterator(load_btf(), detail) if has_btf() else False
    if detail and kind == "kfunc":
        return _probe_kfunc(load_btf(), *detail.split(":", 1)) if has_btf() else False
    if name in _HELPER_FEATURES:
        return probe_helper(_HELPER_FEATURES[name])
    if name in _TABLE:
        return _TABLE[name]()
    if name in _WITH_BTF:
        if not has_btf():
            return False
        try:
            return _WITH_BTF[name](load_btf())
        except TargetError:
            return None
    raise ValueError(f"unknown feature {name!r}")


def feature_names() -> list[str]:
    """Return the names of the features that `ask` knows by a plain word, sorted."""
    return sorted({*_HELPER_FEATURES, *_TABLE, *_WITH_BTF})


def probe_helper(name: str, program: str = "KPROBE") -> bool | None:
    """Return whether programs of type `program` may call helper `name`."""
    number = HELPERS.get(name)
    if number is None:
        raise ValueError(f"unknown BPF helper {name!r}")
    return _may_call_helper(number, program)


def _may_call_helper(number: int, program: str, expected: str = "", attach_btf_id: int = 0) -> bool | None:
    asm = Assembler()
    for register in (R1, R2, R3, R4, R5):
        asm.mov(register, 0)
    # "unknown func", "invalid func" and (since 6.12) "program of this type cannot use helper" mean no; every other
    # complaint is about the arguments.
    refusals = ("unknown func", "invalid func", "cannot use helper")
    return _is_accepted(asm.call(number), refusals, program, expected, attach_btf_id)


def _is_accepted(
    call: Assembler, refusals: tuple[str, ...], program: str, expected: str, attach_btf_id: int
) -> bool | None:
    """Load a program that makes a call; tell whether the verifier says none of `refusals`."""
    log = ctypes.create_string_buffer(_LOG_SIZE)
    result = bpf.load_program(
        abi.PROGRAM_TYPES[program],
        call.mov(R0, 0).exit().assemble(),
        expected_attach=abi.ATTACH_TYPES[expected] if expected else 0,
        attach_btf_id=attach_btf_id,
        log=log,
        log_level=1,
    )
    if result >= 0:
        os.close(result)
        return True
    text = log.value.decode(errors="replace")
    return not any(words in text for words in refusals) if text else None


def probe_instruction_limit() -> int | None:
    """Return how many instructions a program may have; ``None`` when that cannot be found out."""
    # The length is looked at before anything else: these are refused for it, or for what is in them.
    for count, limit in ((4096 + 1, 4096), (1_000_000 + 1, 1_000_000)):
        result = bpf.load_program(abi.PROGRAM_TYPES["SOCKET_FILTER"], bytes(8 * count))
        if result == -errno.E2BIG:
            return limit
        if -result in _INCONCLUSIVE:
            return None
    return None


def probe_map_type(name: str) -> bool | None:
    """Return whether the kernel has maps of type `name` (``RINGBUF``)."""
    number = abi.MAP_TYPES.get(name)
    if number is None:
        raise ValueError(f"unknown map type {name!r}")
    page = os.sysconf("SC_PAGE_SIZE")
    key, value, entries, flags = {
        "RINGBUF": (0, 0, page, 0),
        "USER_RINGBUF": (0, 0, page, 0),
        "QUEUE": (0, 4, 1, 0),
        "STACK": (0, 4, 1, 0),
        "BLOOM_FILTER": (0, 4, 1, 0),
        "STACK_TRACE": (4, 8, 1, 0),
        "LPM_TRIE": (8, 8, 1, abi.BPF_F_NO_PREALLOC),
        "ARENA": (0, 0, 1, abi.BPF_F_MMAPABLE),
    }.get(name, (4, 4, 1, 0))
    try:
        bpf.create_map(number, key, value, entries, flags).close()
    except KernelError as error:
        if error.errno in _INCONCLUSIVE:
            return None
        # These need BTF or another map; asking so only tells whether the type is known.
        return None if name.endswith(("_STORAGE", "_OF_MAPS", "STRUCT_OPS")) else False
    return True


def _load(type: str, expected: str = "", attach_btf_id: int = 0) -> int:
    return bpf.load_program(
        abi.PROGRAM_TYPES[type],
        _RETURN_0,
        expected_attach=abi.ATTACH_TYPES[expected] if expected else 0,
        attach_btf_id=attach_btf_id,
    )


def _probe_multi(expected: str, session: bool) -> bool | None:
    program = _load("KPROBE", expected)
    if program < 0:
        return None if -program in _INCONCLUSIVE else False
    with Fd(program):
        # Nothing is attached: a kernel with the feature looks for the function and says ESRCH, one without says
        # EOPNOTSUPP (no CONFIG_FPROBE) or EINVAL (before 5.18, or before 6.10 for sessions).
        result = bpf.create_kprobe_multi_link(program, symbols=[_NO_SUCH_FUNCTION], session=session)
    if result >= 0:
        os.close(result)
        return True
    if -result in _INCONCLUSIVE:
        return None
    return -result in (errno.ESRCH, errno.ENOENT)


def _probe_perf_link() -> bool | None:
    program = _load("PERF_EVENT")
    if program < 0:
        return None
    with Fd(program):
        result = bpf.create_perf_link(program, 1 << 20)
    if result >= 0:
        os.close(result)
        return True
    return None if -result in _INCONCLUSIVE else -result == errno.EBADF


def _probe_missed() -> bool | None:
    program = _load("PERF_EVENT")
    if program < 0:
        return None
    attr = PerfEventAttr(perf_abi.PERF_TYPE_SOFTWARE, perf_abi.PERF_COUNT_SW_CPU_CLOCK, sample_period=1 << 40)
    with Fd(program):
        try:
            event = open_perf_event(attr, pid=0)
        except KernelError:
            return None
        with event:
            link = bpf.create_perf_link(program, event.fileno())
            if link < 0:
                return None if -link in _INCONCLUSIVE else False
            with Fd(link):
                return len(bpf.object_info(link, 256)) >= _LINK_INFO_WITH_MISSED


def _probe_uprobe_multi() -> bool | None:
    program = _load("KPROBE", "TRACE_UPROBE_MULTI")
    if program < 0:
        return None if -program in _INCONCLUSIVE else False
    with Fd(program):
        attr = bpf.Attr(64).u32(0, program).u32(8, abi.ATTACH_TYPES["TRACE_UPROBE_MULTI"])
        attr.text(16, "/").pointer(24, bytes(8)).u32(48, 1)
        result = bpf.bpf(abi.BPF_LINK_CREATE, attr)
    if result >= 0:
        os.close(result)
        return True
    return None if -result in _INCONCLUSIVE else -result == errno.EBADF


def _probe_trampoline(btf: Btf, expected: str) -> bool | None:
    target = btf.func("bpf_fentry_test1")  # only ever called by the kernel's own test runs
    if target is None:
        return None
    program = _load("TRACING", expected, target)
    if program < 0:
        return None if -program in _INCONCLUSIVE else False
    with Fd(program):
        link = bpf.open_raw_tracepoint(program)
    if link < 0:
        return None if -link in _INCONCLUSIVE else False
    os.close(link)
    return True


def _probe_iterator(btf: Btf, kind: str = "task") -> bool | None:
    target = btf.func("bpf_iter_" + kind)
    if target is None:
        return False
    program = _load("TRACING", "TRACE_ITER", target)
    if program < 0:
        return None if -program in _INCONCLUSIVE else False
    with Fd(program):
        link = bpf.create_link(program, abi.ATTACH_TYPES["TRACE_ITER"])
    if link < 0:
        return None if -link in _INCONCLUSIVE else False
    os.close(link)
    return True


def _probe_btf_helper(btf: Btf, name: str) -> bool | None:
    target = btf.func("bpf_fentry_test1")
    return None if target is None else _may_call_helper(HELPERS[name], "TRACING", "TRACE_FENTRY", target)


def _probe_kfunc(btf: Btf, program: str, name: str) -> bool | None:
    number = btf.func(name)
    if number is None:
        return False
    place, expected = {"TRACING": ("bpf_fentry_test1", "TRACE_FENTRY"), "LSM": ("bpf_lsm_file_open", "LSM_MAC")}.get(
        program, ("", "")
    )
    target = btf.func(place) if place else 0
    if target is None:
        return None
    # What may be called is looked up before the arguments, all of which are missing here.
    refusals = ("is not allowed", "is not a kernel function", "require device-bound")
    return _is_accepted(Assembler().call_kfunc(number), refusals, program, expected, target)


def _probe_raw_tracepoint_run() -> bool | None:
    program = _load("RAW_TRACEPOINT")
    if program < 0:
        return None if -program in _INCONCLUSIVE else False
    with Fd(program):
        try:
            bpf.run_program(program)
        except KernelError as error:
            return None if error.errno in _INCONCLUSIVE else False
    return True


def _probe_multi_returns_last_first() -> bool | None:
    """Return whether kprobe_multi return programs on one function run in the reverse of the order of attaching.

    Since Linux commit 4346ba160409 ("fprobe: Rewrite fprobe on function-graph tracer") (v6.14), returns run in the
    order of the entries, the last attached first; before, each was pushed on a stack at the entry.
    """
    multi = _probe_multi("TRACE_KPROBE_MULTI", False)
    if not multi:
        return multi
    trigger = _load("RAW_TRACEPOINT")
    if trigger < 0:
        return None
    with ExitStack() as stack:
        stack.enter_context(Fd(trigger))
        try:
            last = stack.enter_context(bpf.create_map(abi.MAP_TYPES["ARRAY"], 4, 8, 1))
        except KernelError:
            return None
        for number in (1, 2):
            code = Assembler().load_map_value(R1, last.fileno()).store_imm(8, R1, 0, number).mov(R0, 0).exit()
            program = bpf.load_program(
                abi.PROGRAM_TYPES["KPROBE"], code.assemble(), expected_attach=abi.ATTACH_TYPES["TRACE_KPROBE_MULTI"]
            )
            if program < 0:
                return None
            stack.enter_context(Fd(program))
            # What runs `trigger`: nobody else calls it, but for test runs of theirs.
            link = bpf.create_kprobe_multi_link(program, symbols=["bpf_prog_test_run_raw_tp"], retprobe=True)
            if link < 0:
                return None
            stack.enter_context(Fd(link))
        try:
            bpf.run_program(trigger)
            value = bpf.lookup_elem(last.fileno(), bytes(4), 8)
        except KernelError:
            return None
    return {1: True, 2: False}.get(int.from_bytes(value or b"", "little"))


# Features that are a helper in kprobe programs.
_HELPER_FEATURES: dict[str, str] = {
    "bpf_loop": "loop",
    "for_each_map_elem": "for_each_map_elem",
    "get_attach_cookie": "get_attach_cookie",
    "get_boot_ns": "ktime_get_boot_ns",
    "get_func_ip": "get_func_ip",
    "get_ns_current_pid_tgid": "get_ns_current_pid_tgid",
    "get_tai_ns": "ktime_get_tai_ns",
    "jiffies64": "jiffies64",
    "map_lookup_percpu_elem": "map_lookup_percpu_elem",
    "override_return": "override_return",
    "probe_read_kernel": "probe_read_kernel",
    "probe_write_user": "probe_write_user",
    "send_signal": "send_signal",
    "snprintf": "snprintf",
    "strncmp": "strncmp",
    "task_storage": "task_storage_get",
    "trace_vprintk": "trace_vprintk",
}

_TABLE: dict[str, Callable[[], bool | None]] = {
    "attach_cookie": _probe_perf_link,
    "kprobe_multi": lambda: _probe_multi("TRACE_KPROBE_MULTI", False),
    "kprobe_multi_returns_last_first": _probe_multi_returns_last_first,
    "kprobe_session": lambda: _probe_multi("TRACE_KPROBE_SESSION", True),
    "link_info_missed": _probe_missed,
    "lpm_trie": lambda: probe_map_type("LPM_TRIE"),
    "perf_link": _probe_perf_link,
    "raw_tracepoint_run": _probe_raw_tracepoint_run,
    "ringbuf": lambda: probe_map_type("RINGBUF"),
    "uprobe_multi": _probe_uprobe_multi,
}

_WITH_BTF: dict[str, Callable[[Btf], bool | None]] = {
    "d_path": lambda btf: _probe_btf_helper(btf, "d_path"),
    "fentry": lambda btf: _probe_trampoline(btf, "TRACE_FENTRY"),
    "fexit": lambda btf: _probe_trampoline(btf, "TRACE_FEXIT"),
    "get_func_arg": lambda btf: _probe_btf_helper(btf, "get_func_arg"),
    "iter": _probe_iterator,
    "skb_output": lambda btf: _probe_btf_helper(btf, "skb_output"),
}
