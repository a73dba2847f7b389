"""What a function's name says: the program type, and where BCC attaches it."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bcc_c.result import AutoAttach, ProgramInfo

SpanT = tuple[int, int]

KFUNC_PREFIXES = ("kfunc__", "kretfunc__", "kmod_ret__", "lsm__")
SYSCALL_PREFIXES = ("syscall__", "kprobe____x64_sys_")


# What a program is whose first parameter points to one of these; `load_func` has the last word.
CONTEXTS = {
    "__sk_buff": "SCHED_CLS",
    "xdp_md": "XDP",
    "bpf_sock": "CGROUP_SOCK",
    "bpf_sock_addr": "CGROUP_SOCK_ADDR",
    "bpf_sockopt": "CGROUP_SOCKOPT",
    "bpf_cgroup_dev_ctx": "CGROUP_DEVICE",
    "bpf_sysctl": "CGROUP_SYSCTL",
    "bpf_sock_ops": "SOCK_OPS",
    "sk_msg_md": "SK_MSG",
    "sk_reuseport_md": "SK_REUSEPORT",
    "bpf_sk_lookup": "SK_LOOKUP",
}


def describe_program(name: str, span: SpanT | None, context: str = "") -> ProgramInfo:
    """Return what BCC makes of a function with this name, whose first parameter points to a struct `context`."""
    for prefix, describe in _PREFIXES.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            type_, expected, attach = describe(name[len(prefix) :])
            return ProgramInfo(name, type_, expected, attach, span)
    return ProgramInfo(name, CONTEXTS.get(context, "KPROBE"), span=span)


_Described = tuple[str, str, AutoAttach]


def _tracepoint(rest: str) -> _Described:
    category, _, event = rest.partition("__")
    return "TRACEPOINT", "", AutoAttach("tracepoint", f"{category}:{event}")


def _trampoline(kind: str, expected: str) -> Callable[[str], _Described]:
    def describe(rest: str) -> _Described:
        module, separator, function = rest.partition("__")
        if not separator:
            module, function = "vmlinux", rest
        return "TRACING", expected, AutoAttach(kind, function, "" if module == "vmlinux" else module)

    return describe


_PREFIXES: dict[str, Callable[[str], _Described]] = {
    "kprobe__": lambda rest: ("KPROBE", "", AutoAttach("kprobe", rest)),
    "kretprobe__": lambda rest: ("KPROBE", "", AutoAttach("kretprobe", rest)),
    "tracepoint__": _tracepoint,
    "raw_tracepoint__": lambda rest: ("RAW_TRACEPOINT", "", AutoAttach("raw_tracepoint", rest)),
    "kfunc__": _trampoline("kfunc", "TRACE_FENTRY"),
    "kretfunc__": _trampoline("kretfunc", "TRACE_FEXIT"),
    "kmod_ret__": lambda rest: ("TRACING", "MODIFY_RETURN", AutoAttach("fmod_ret", rest, implicit=False)),
    "lsm__": lambda rest: ("LSM", "LSM_MAC", AutoAttach("lsm", rest)),
    "bpf_iter__": lambda rest: ("TRACING", "TRACE_ITER", AutoAttach("iter", rest, implicit=False)),
}
