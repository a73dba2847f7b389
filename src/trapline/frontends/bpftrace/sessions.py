"""Put entry and return of the same functions into one program, where the kernel runs a program at both.

kprobe:vfs_* { A } kretprobe:vfs_* { B }   →   one program: if (bpf_session_is_return(ctx)) B(ctx) else A(ctx)
"""

from __future__ import annotations

from collections.abc import Sequence

from trapline.frontends.bpftrace.infer import TypedSite
from trapline.ir import spec
from trapline.ir.builder import Builder
from trapline.ir.target import Target

_Places = tuple[tuple[str, ...], str]


def find_sessions(sites: Sequence[TypedSite], target: Target) -> dict[int, int]:
    """Find the blocks that share a program: one ``kprobe`` and one ``kretprobe`` on the same functions.

    Args:
        sites: the typed blocks.
        target: the machine; asked only when there are such blocks.

    Returns:
        The index of the earlier one by the index of the later one.
    """
    blocks: dict[_Places, list[int]] = {}
    for number, typed in enumerate(sites):
        attach = typed.site.attach_points[0].attach
        if isinstance(attach, spec.KprobeMultiAttach):
            blocks.setdefault((attach.symbols, attach.module), []).append(number)
    pairs = {
        later: earlier
        for numbers in blocks.values()
        if len(numbers) == 2
        for earlier, later in [numbers]
        if sites[earlier].site.at_return != sites[later].site.at_return
        # Arguments that a return block uses come from a program of its own at the entry.
        if not any(sites[number].site.at_return and sites[number].typer.used_arguments for number in numbers)
    }
    if not pairs or not (target.has("kprobe_multi") and target.has("kprobe_session")):
        return {}
    if target.btf.func("bpf_session_is_return") is None:
        return {}
    return pairs


def merge_session(first: spec.ProgramSpec, second: spec.ProgramSpec, *, first_returns: bool) -> spec.ProgramSpec:
    """Return one program for two; its cookies are those of the first."""
    entry, leaving = (second, first) if first_returns else (first, second)
    b = Builder(f"session_{first.name}")
    # A function's bool is in the low byte alone.
    returning = b.binary("and", b.kfunc("bpf_session_is_return", b.context), b.i64(1))
    at_return, at_entry = b.new_block("return"), b.new_block("entry")
    b.branch(b.compare("ne", returning, b.i64(0)), at_return, at_entry)
    for block, program in ((at_return, leaving), (at_entry, entry)):
        b.start(block)
        b.call(program.function.name, b.context)
        b.ret(b.i64(0))
    functions = (first.function, second.function, *first.subprograms, *second.subprograms)
    (point,) = first.attach_points
    places = point.attach
    assert isinstance(places, spec.KprobeMultiAttach)
    attach = spec.KprobeMultiAttach(places.symbols, places.cookies, session=True, module=places.module)
    label = f"{entry.label},{leaving.label}"
    return spec.ProgramSpec(
        b.function.name,
        "KPROBE",
        b.finish(),
        (spec.AttachPoint(attach, label, point.cookie, point.span, point.optional),),
        label=label,
        span=first.span,
        subprograms=tuple({function.name: function for function in functions}.values()),
    )
