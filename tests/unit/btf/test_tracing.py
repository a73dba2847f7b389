"""Raw tracepoints and iterators, as a kernel's types describe them."""

from __future__ import annotations

from trapline import btf as b
from trapline.btf.tracing import iterator_names, raw_tracepoint_params
from trapline.btf.write import BtfBuilder


def _types() -> b.Btf:
    build = BtfBuilder()
    number = build.add_int("int", 4, signed=True)
    data = build.add_ptr()
    nameless = build.add(b.FuncProto(params=(b.Param("", data), b.Param("", number)), ret=0))
    for event in ("named", "bare"):
        build.append(b.Typedef(f"btf_trace_{event}", build.add_ptr(nameless)))
    build.add_func("__bpf_trace_named", (("__data", data), ("level", number)), 0)
    task = build.add_struct("bpf_iter__task", 8, (("meta", data, 0),))
    build.add_struct("bpf_iter__task__safe_trusted", 8, (("meta", data, 0),))
    build.add_func("bpf_iter_task", (("context", build.add_ptr(task)),), number)
    return b.Btf(build.build())


def test_a_handler_names_the_parameters() -> None:
    params = raw_tracepoint_params(_types(), "named")
    assert params is not None and [param.name for param in params] == ["level"]


def test_the_typedef_has_the_types_alone() -> None:
    btf = _types()
    params = raw_tracepoint_params(btf, "bare")
    assert params is not None and [(param.name, btf.type_name(param.type)) for param in params] == [("", "int")]
    assert raw_tracepoint_params(btf, "absent") is None


def test_annotations_are_no_iterators() -> None:
    assert iterator_names(_types()) == ["task"]
