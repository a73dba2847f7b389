"""What a refused kprobe says: the cause, and what to do."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from tests.kernel.tiny_objects import attached, program, target

from trapline.errors import AttachError, FeatureMissingError, NoSuchProbeError, TraplineError
from trapline.ir.spec import AttachPoint, KprobeAttach
from trapline.syscall.tracefs import read_filter_functions

pytestmark = [pytest.mark.needs("kprobes"), pytest.mark.limit(120)]


def refused(**fields: object) -> TraplineError:
    """Attach a kprobe that cannot be, and return the error; no line of it may be empty or a traceback."""
    point = AttachPoint(KprobeAttach(**fields), f"kprobe:{fields.get('symbol', fields.get('address'))}")  # type: ignore[arg-type]
    with pytest.raises(TraplineError) as caught, attached(program(1, point)):
        pass
    error = caught.value
    assert point.label in error.message and "\n" not in error.message and error.hint
    return error


def test_a_name_that_does_not_exist() -> None:
    error = refused(symbol="do_nanoslep")
    assert isinstance(error, NoSuchProbeError) and error.near[0] == "do_nanosleep"
    assert "do_nanosleep" in (error.hint or "") and not any(n.startswith("__pfx_") for n in error.near)
    assert "trapline -l" in (refused(symbol="qqqqqqqqqqqqqqq").hint or "")


def test_only_variants_exist() -> None:
    names = {name for name, _ in target().symbols.functions()}
    kinds = set()
    for name in sorted(names):
        kind = re.search(r"\.(isra|constprop|part)\.\d+$", name)
        base = name.partition(".")[0]
        if kind and kind[1] not in kinds and base not in names and not name.startswith("__pfx_"):
            kinds.add(kind[1])
            error = refused(symbol=base)
            assert isinstance(error, NoSuchProbeError) and name in error.near
            assert "variants" in error.message and error.near[0] in (error.hint or "")
    assert kinds >= {"isra", "constprop"}


def test_a_function_on_the_blacklist() -> None:
    names = {entry.name for entry in target().probes.blacklist or ()}
    assert names, "this kernel has no blacklist to read"
    name = next(n for n in sorted(names) if len(target().symbols.find(n)) == 1)
    error = refused(symbol=name)
    assert isinstance(error, AttachError) and "blacklist" in error.message


def test_a_function_marked_notrace() -> None:
    traceable = {name for name, _ in read_filter_functions()}
    banned = {entry.name for entry in target().probes.blacklist or ()}
    tried = 0
    for symbol in ("trace_clock_local", "ktime_get_mono_fast_ns", "trace_clock", "sched_clock"):
        if len(target().symbols.find(symbol)) == 1 and symbol not in traceable and symbol not in banned:
            tried += 1
            error = refused(symbol=symbol)
            assert isinstance(error, AttachError) and "notrace" in error.message
    assert tried, "none of the functions is notrace here"


def test_an_offset_inside_an_instruction_or_outside_the_function() -> None:
    error = refused(symbol="do_nanosleep", offset=1)
    assert isinstance(error, AttachError) and "not at the start of an instruction" in error.message
    error = refused(symbol="do_nanosleep", offset=1_000_000)
    size = target().symbols.extent(target().symbol_address("do_nanosleep") or 0)
    assert f"has only {size} bytes" in error.message
    assert "takes no offset" in refused(symbol="do_nanosleep", offset=5, retprobe=True).message


def test_a_name_of_several_functions() -> None:
    counts = Counter(name for name, module in target().symbols.functions() if not module and "." not in name)
    name = next(n for n, count in counts.items() if count > 1 and not n.startswith("__pfx_"))
    point = AttachPoint(KprobeAttach(name), f"kprobe:{name}")
    try:
        with attached(program(1, point)):
            return  # kernels before the check take the first
    except AttachError as error:
        assert f"{counts[name]} functions are called {name}" in error.message and error.hint


def test_modules() -> None:
    error = refused(symbol="do_nanosleep", module="no_such_module")
    assert "module no_such_module is not loaded" in error.message and "vmlinux" in (error.hint or "")
    assert "modprobe" in (refused(symbol="no_such_function", module="no_such_module").hint or "")


def test_data_is_no_function() -> None:
    symbols = target().symbols
    name = next(n for n in ("init_task", "linux_banner", "jiffies") if not any(s.is_function for s in symbols.find(n)))
    with (
        pytest.raises(NoSuchProbeError, match="is data"),
        attached(program(1, AttachPoint(KprobeAttach(name), f"kprobe:{name}"))),
    ):
        pass


def test_addresses() -> None:
    address = target().symbol_address("do_nanosleep") or 0
    assert "not at the start of an instruction" in refused(address=address + 1).message
    assert "no known function" in refused(address=0x1000).message


def test_maxactive_would_need_a_probe_that_survives() -> None:
    with (
        pytest.raises(FeatureMissingError, match="maxactive"),
        attached(
            program(
                1, AttachPoint(KprobeAttach("do_nanosleep", retprobe=True, maxactive=100), "kretprobe:do_nanosleep")
            )
        ),
    ):
        pass
