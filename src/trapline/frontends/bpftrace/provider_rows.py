"""The kinds of probes, as table rows: how they are written, when they run, and what they need."""

from __future__ import annotations

from trapline.records import record


@record(frozen=True)
class Provider:
    """A kind of probe.

    Args:
        name: the canonical name.
        aliases: other names, and those of older versions.
        form: how a probe is written.
        doc: when it runs, in a line.
        needs: what the machine must have beyond tracefs and perf events.
    """

    name: str
    aliases: tuple[str, ...]
    form: str
    doc: str
    needs: str = ""


_FTRACE = "BTF and trampolines: CONFIG_DEBUG_INFO_BTF, CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"

PROVIDER_ROWS = (
    Provider("begin", ("BEGIN",), "begin", "once, before all other probes"),
    Provider("end", ("END",), "end", "once, after all other probes"),
    Provider("self", (), "self:signal:SIGUSR1", "when the tracer gets the signal"),
    Provider(
        "kprobe", ("k",), "kprobe[:module]:function[+offset]", "when a kernel function is called", "CONFIG_KPROBES"
    ),
    Provider("kretprobe", ("kr",), "kretprobe[:module]:function", "when a kernel function returns", "CONFIG_KPROBES"),
    Provider("fentry", ("f", "kfunc"), "fentry[:module]:function", "when a kernel function is called", _FTRACE),
    Provider("fexit", ("fr", "kretfunc"), "fexit[:module]:function", "when a kernel function returns", _FTRACE),
    Provider("tracepoint", ("t",), "tracepoint:category:name", "at a tracepoint of the kernel"),
    Provider("rawtracepoint", ("rt",), "rawtracepoint[:module]:name", "at a tracepoint, with its raw arguments", "BTF"),
    Provider("uprobe", ("u",), "uprobe:binary:function[+offset]", "when a user function is called", "CONFIG_UPROBES"),
    Provider("uretprobe", ("ur",), "uretprobe:binary:function", "when a user function returns", "CONFIG_UPROBES"),
    Provider("usdt", ("U",), "usdt:binary:[provider:]name", "at a static probe of a user program", "CONFIG_UPROBES"),
    Provider("profile", ("p",), "profile:hz|s|ms|us:n", "on every CPU, n times a second or every n units"),
    Provider("interval", ("i",), "interval:hz|s|ms|us:n", "on one CPU, n times a second or every n units"),
    Provider("software", ("s",), "software:event[:count]", "every count software events"),
    Provider("hardware", ("h",), "hardware:event[:count]", "every count hardware events", "a PMU"),
    Provider("watchpoint", ("w",), "watchpoint:address:length:mode", "when memory is accessed", "debug registers"),
    Provider("iter", ("it",), "iter:object[:pin]", "for each object of the kernel, once", "BTF"),
    Provider("test", (), "test:name", "once, with --test"),
    Provider("bench", (), "bench:name", "many times, with --bench"),
)
