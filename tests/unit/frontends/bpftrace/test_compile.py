from __future__ import annotations

import pytest
from tests.golden.bpftrace.target import FUNCTIONS, FixtureTarget

from trapline.errors import SemanticError
from trapline.frontends.bpftrace import (
    CompileOptions,
    compile_program,
    list_attach_points,
    settings_from_environment,
)
from trapline.ir import spec
from trapline.ir.check import check_module
from trapline.ir.printer import format_module
from trapline.source import Source


def compiled(text: str, options: CompileOptions | None = None, target: FixtureTarget | None = None) -> spec.ModuleSpec:
    module = compile_program(Source("stdin", text), target or FixtureTarget(), options).module
    check_module(module)
    return module


def map_of(module: spec.ModuleSpec, name: str) -> spec.MapSpec:
    return next(m for m in module.maps if m.name == name)


def test_a_wildcard_is_one_program_with_a_cookie_for_each_function() -> None:
    module = compiled("begin { } kprobe:vfs_* { @[probe] = count() }")
    (point,) = module.programs[1].attach_points
    assert isinstance(point.attach, spec.KprobeMultiAttach)
    names = [module.probe_names[cookie] for cookie in point.attach.cookies]
    assert names == [f"kprobe:{symbol}" for symbol in point.attach.symbols]
    assert point.attach.symbols == tuple(f for f in FUNCTIONS if f.startswith("vfs_"))


def test_programs_keep_the_order_of_the_text() -> None:
    module = compiled("kprobe:vfs_read { @a = 1 } kprobe:vfs_read, kretprobe:vfs_read { @b = 1 } begin { }")
    assert [p.label for p in module.programs] == ["kprobe:vfs_read", "kprobe:vfs_read", "kretprobe:vfs_read", "begin"]
    assert len({p.name for p in module.programs}) == 4


def test_a_kretprobe_with_arguments_brings_an_entry_program() -> None:
    module = compiled("kretprobe:vfs_read { print(args.count) }")
    entry = module.programs[1].attach_points[0].attach
    assert entry == spec.KprobeAttach("vfs_read")
    assert len(compiled("kretprobe:vfs_read { print(retval) }").programs) == 1


def test_the_process_filter_concerns_probes_of_all_processes_only() -> None:
    options = CompileOptions(pid=4242)
    module = compiled("kprobe:vfs_read { @ = count() } interval:s:1 { print(@) }", options)
    texts = format_module(module).split("program ")[1:]
    assert ["4242" in text for text in texts] == [True, False]


def test_typed_records_carry_the_long_header() -> None:
    event = compiled('begin { printf("%d", pid) }', CompileOptions(typed_events=True)).events[0]
    assert isinstance(event, spec.PrintfEvent)
    assert event.args[0].offset == spec.TYPED_HEADER
    assert event.args[0].name == "pid"


def test_config_decides_sizes_and_the_environment_overrides_it() -> None:
    text = "config = { max_map_keys = 7; perf_rb_pages = 64; print_maps_on_exit = false } begin { @[1] = 2; @s = 1 }"
    module = compiled(text)
    assert (map_of(module, "@").max_entries, map_of(module, "@").printed) == (7, False)
    assert map_of(module, "@s").max_entries == 1
    assert map_of(module, spec.RING).max_entries == 64 * 4096
    settings = settings_from_environment({"BPFTRACE_MAX_MAP_KEYS": "9", "HOME": "/"})
    assert map_of(compiled(text, CompileOptions(settings=settings)), "@").max_entries == 9


def test_a_wrong_environment_variable_is_named() -> None:
    with pytest.raises(SemanticError, match="BPFTRACE_MAX_STRLEN"):
        settings_from_environment({"BPFTRACE_MAX_STRLEN": "many"})


def test_numbers_and_text_among_the_positional_parameters() -> None:
    options = CompileOptions(positional=("0x10", "name"))
    module = compiled('begin { @n = $1; @s = str($2); @missing = $3; @count = $#; if ($2 == "name") { } }', options)
    assert map_of(module, "@s").value_size == 5
    value = map_of(module, "@n").value
    assert value is not None and value.size == 1


def test_without_types_of_the_kernel_programs_still_compile() -> None:
    target = FixtureTarget(has_btf=False)
    compiled('kprobe:vfs_read { printf("%d %p %s", arg0, curtask, comm) }', target=target)
    with pytest.raises(SemanticError, match="no type information"):
        compiled("kprobe:vfs_read { print(args.count) }", target=target)


def test_missing_probes_may_be_a_warning() -> None:
    source = Source("stdin", "config = { missing_probes = warn } kprobe:nosuch* { } begin { }")
    result = compile_program(source, FixtureTarget())
    assert [w.message for w in result.warnings] == ["No matches for kprobe nosuch*."]
    assert [p.label for p in result.module.programs] == ["begin"]


def test_a_program_lists_its_probes_with_wildcards_expanded() -> None:
    text = "begin { } kprobe:vfs_w*, tracepoint:sched:* { } profile:hz:99 { } software:faults:5 { }"
    found = list_attach_points(Source("stdin", text), FixtureTarget())
    assert found == [
        "kprobe:vfs_write",
        "tracepoint:sched:sched_process_exec",
        "tracepoint:sched:sched_switch",
        "profile:hz:",
        "software:faults:",
    ]


def test_equal_texts_give_equal_modules() -> None:
    text = 'kprobe:vfs_* { @[comm, probe] = hist(arg2); printf("%s\\n", str(arg1)) }'
    assert format_module(compiled(text)) == format_module(compiled(text))


@pytest.mark.parametrize(("value", "words"), [("count()", 1), ("avg(7)", 2), ("hist(7)", 1), ("max(7)", 0)])
@pytest.mark.parametrize(
    ("probes", "programs"),
    [
        ("kprobe:vfs_read", 0),
        ("profile:hz:9", 0),
        ("self:signal:SIGUSR1", 1),
        ("kprobe:vfs_read, self:signal:SIGUSR1", 2),
    ],
)
def test_where_another_program_may_interrupt_parts_change_atomically(
    value: str, words: int, probes: str, programs: int
) -> None:
    text = format_module(compiled(f"{probes} {{ @[1] = {value} }}"))
    assert text.count("'zeros'") == programs
    faults = text.count("= map .faults")
    assert text.count("  atomic add") - faults == words * programs
    # Without keys the value is in an array, where it always is.
    text = format_module(compiled(f"{probes} {{ @ = {value} }}"))
    assert "map_update_elem" not in text and text.count("  atomic add") == words * programs
