"""Functions that the compiler answers: questions about types, assertions, the script's options."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import base_name, evaluate, is_literal
from trapline.frontends.bpftrace.script_options import option_of
from trapline.frontends.bpftrace.tables import MANY, Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.target import UserFiles

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer


def _lower(low: Lowerer, call: ast.Call, target: Op | None) -> Op | None:
    """Lower what stands for the call."""
    replacement = low.typer.rewritten.get(call)
    if replacement is None:
        return None
    if target is not None:
        low.into(replacement, target, low.type(call))
        return None
    return low.value(replacement)


def _question(ask: Callable[[t.Type], bool]) -> Callable[[ExpressionTyper, ast.Call], t.Type]:
    """Make the rule of a question about the type of the argument."""

    def check(typer: ExpressionTyper, call: ast.Call) -> t.Type:
        kind = t.decay(typer.type_of(call.args[0]))
        return kind if isinstance(kind, t.UnknownT) else typer.type_as(call, ask(kind))

    return check


def _check_literal(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.type_of(call.args[0])
    return typer.type_as(call, is_literal(typer, call.args[0]))


def _check_kfunc(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node = call.args[0]
    typer.type_of(node)
    name = evaluate(typer, node)
    if not isinstance(name, bytes):
        return typer.error(f"{call.name}() accepts a string literal only", call.span)
    target, text = typer.knowledge.target, name.decode("utf-8", "replace")
    good = target.has_btf and target.btf.func(text) is not None
    if good and call.name.endswith("kfunc_allowed"):
        good = target.has(f"kfunc:{typer.site.program_type}:{text}")
    return typer.type_as(call, good)


# ---------------------------------------------------------------- assertions


def _check_fail(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kinds = [typer.type_of(node) for node in call.args]
    form, *values = (evaluate(typer, node) for node in call.args)
    if not isinstance(form, bytes):
        return typer.error(f"fail() expects a string literal ({base_name(kinds[0])} provided)", call.span)
    if None in values:
        return typer.error("fail() arguments need to be literals", call.span)
    typer.error(_formatted(form, values), call.span)
    return t.VOID


def _formatted(form: bytes, values: list[object]) -> str:
    """Return the message of ``fail``; what does not fit its format is shown as it is."""
    shown = tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values)
    text = form.decode("utf-8", "replace")
    try:
        return text % shown
    except (TypeError, ValueError):
        return " ".join([text, *map(str, shown)])


def _check_static_assert(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    condition, message = call.args
    typer.type_of(message)
    text = evaluate(typer, message)
    holds = typer.decide(condition, condition.span)
    if not isinstance(text, bytes):
        return typer.error("the message of static_assert() must be a string literal", message.span)
    if holds is False:
        typer.error(text.decode("utf-8", "replace"), call.span)
    return t.VOID


def _check_assert(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    """Let the call stand for ``if (!c) { errorf("assert failed: %s", message); exit(1); }``."""
    if call not in typer.rewritten:
        span = call.span
        report = ast.Call(span, "errorf", (ast.String(span, b"assert failed: %s"), call.args[1]))
        end = ast.Call(span, "exit", (ast.Integer(span, 1),))
        body = ast.Block(span, (ast.ExpressionStatement(span, report), ast.ExpressionStatement(span, end)))
        test = ast.If(span, ast.Unary(span, "!", call.args[0]), body, None)
        typer.rewritten[call] = ast.BlockExpression(span, (test,), None)
    return typer.type_of(typer.rewritten[call])


def _check_string_like(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if not isinstance(kind, t.StringT | t.ArrayT | t.PtrT | t.UnknownT):
        typer.error("string-like values must be either strings, arrays or pointers", call.span)
    return t.VOID


def _check_userspace(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.type_of(call.args[0])
    name = evaluate(typer, call.args[0])
    _refuse_outside_of_programs(
        typer, call, name.decode("utf-8", "replace") if isinstance(name, bytes) else call.args[0].span.text
    )
    return t.VOID


def _refuse_outside_of_programs(typer: ExpressionTyper, call: ast.Call, name: str) -> None:
    if not typer.site.user:
        provider = typer.site.provider if typer.site.provider not in ("begin", "end", "self") else "special"
        typer.error(f"{name} can not be used for this probetype: {provider}", call.span)


# ---------------------------------------------------------------- the traced file


def _traced_file(ask: Callable[[UserFiles, str], int]) -> Callable[[ExpressionTyper, ast.Call], t.Type]:
    """Make the rule of a question about the file that the probe is in."""

    def check(typer: ExpressionTyper, call: ast.Call) -> t.Type:
        if not call.name.startswith("__"):
            _refuse_outside_of_programs(typer, call, call.name)
        attach = typer.site.attach_points[0].attach
        path = attach.path if isinstance(attach, spec.UprobeAttach | spec.UprobeMultiAttach) else ""
        return typer.type_as(call, ask(typer.knowledge.target.user_files, path))

    return check


def _is_executable(files: UserFiles, path: str) -> bool:
    found = files.open(path)
    return found is not None and found.fixed


def _inode(files: UserFiles, path: str) -> int:
    return files.inode(path)


def _check_key(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    map_, key, caller = call.args
    typer.type_of(caller)
    if not isinstance(map_, ast.MapName):
        return typer.error("check_key() expects a map", map_.span)
    info = typer.map_info(map_)
    if info.keyed is False:
        name = evaluate(typer, caller)
        shown = name.decode("utf-8", "replace") if isinstance(name, bytes) else "a function"
        return typer.error(
            f"call to {shown} expects a map with explicit keys (non-scalar map)",
            call.span,
        )
    typer.use_key(info, (key,), key.span)
    return t.VOID


# ---------------------------------------------------------------- the script's options


def _check_getopt(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    option = option_of(call, typer.knowledge.diagnostics)
    if option is None:
        return t.UNKNOWN
    value = option.value(typer.knowledge.options.named, typer.knowledge.diagnostics)
    if isinstance(value, bytes):
        size = typer.knowledge.config.integer("max_strlen")
        typer.type_as(call, value[: size - 1])
        return t.StringT(size)
    kind = typer.type_as(call, value)
    return kind if isinstance(value, bool) else t.INT64


COMPTIME_FUNCTIONS = (
    Function("assert", 2, 2, _check_assert, _lower, "assert(condition, message): end with an error unless it holds"),
    Function("assert_str", 1, 1, _check_string_like, _lower, "assert_str(e): compile only if e is like a string"),
    Function(
        "assert_userspace_probe",
        1,
        1,
        _check_userspace,
        _lower,
        "assert_userspace_probe(name): only in user probes",
    ),
    Function(
        "elf_info",
        0,
        0,
        _traced_file(_inode),
        _lower,
        "elf_info(): inode number of the traced file",
        needs="a user probe",
    ),
    Function(
        "elf_is_exe",
        0,
        0,
        _traced_file(_is_executable),
        _lower,
        "elf_is_exe(): whether the traced file is a program that is not position-independent",
        needs="a user probe",
    ),
    Function("__builtin_elf_ino", 0, 0, _traced_file(_inode), _lower, "the same as elf_info, 0 in other probes"),
    Function("__builtin_elf_is_exe", 0, 0, _traced_file(_is_executable), _lower, "the same as elf_is_exe"),
    Function("check_key", 3, 3, _check_key, _lower, "check_key(@map, key, name): compile only if the key fits the map"),
    Function("fail", 1, MANY, _check_fail, _lower, "fail(format, …): do not compile"),
    Function("getopt", 1, 3, _check_getopt, _lower, 'getopt("name"[, default[, text]]): an option of the script'),
    Function(
        "is_array", 1, 1, _question(lambda k: isinstance(k, t.ArrayT)), _lower, "is_array(e): whether e is an array"
    ),
    Function(
        "is_integer", 1, 1, _question(lambda k: isinstance(k, t.IntT)), _lower, "is_integer(e): whether e is an integer"
    ),
    Function("is_literal", 1, 1, _check_literal, _lower, "is_literal(e): whether e is a literal"),
    Function("__builtin_is_literal", 1, 1, _check_literal, _lower, "the same as is_literal"),
    Function("is_ptr", 1, 1, _question(lambda k: isinstance(k, t.PtrT)), _lower, "is_ptr(e): whether e is a pointer"),
    Function("is_str", 1, 1, _question(lambda k: isinstance(k, t.StringT)), _lower, "is_str(e): whether e is a string"),
    Function(
        "is_unsigned_integer",
        1,
        1,
        _question(lambda k: isinstance(k, t.IntT) and not k.signed),
        _lower,
        "is_unsigned_integer(e): whether e is an unsigned integer",
    ),
    Function("kfunc_exist", 1, 1, _check_kfunc, _lower, 'kfunc_exist("name"): whether the kernel has this function'),
    Function("kfunc_allowed", 1, 1, _check_kfunc, _lower, 'kfunc_allowed("name"): whether a probe may call it'),
    Function("__builtin_kfunc_allowed", 1, 1, _check_kfunc, _lower, "the same as kfunc_allowed"),
    Function("__builtin_kfunc_exist", 1, 1, _check_kfunc, _lower, "the same as kfunc_exist"),
    Function(
        "static_assert",
        2,
        2,
        _check_static_assert,
        _lower,
        "static_assert(condition, message): refuse unless it holds",
    ),
)
