"""What a function's name says: the program type, and where BCC attaches it."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bcc_c.result import AutoAttach, ProgramInfo

SpanT = tuple[int, int]

KFUNC_PREFIXES = ("kfunc__", "kretfunc__", "kmod_ret__", "lsm__")
SYSCALL_PREFIXES = ("syscall__", "kprobe____x64_sys_")


def describe_program(name: str, span: SpanT | None) -> ProgramInfo:
    """Return what BCC makes of a function with this name."""
    for prefix, describe in _PREFIXES.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            type_, expected, attach = describe(name[len(prefix) :])
            return ProgramInfo(name, type_, expected, attach, span)
    return ProgramInfo(name, "KPROBE", span=span)


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
