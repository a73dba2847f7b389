"""The script's own options: ``getopt("name", default, "text")`` in the program, ``-- --name=value`` behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trapline.errors import SemanticError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.copy_tree import walk
from trapline.frontends.bpftrace.lexer import read_integer
from trapline.records import record
from trapline.source import Diagnostic, Diagnostics


@record(frozen=True)
class ScriptOption:
    """An option of a script: its name, its default (whose type is the option's), and what it is for."""

    name: str
    default: int | bool | bytes
    text: str = ""

    def value(self, given: Mapping[str, str], diagnostics: Diagnostics) -> int | bool | bytes:
        """Return what the command line says, else the default; a value of the wrong type is an error."""
        text = given.get(self.name)
        if text is None:
            return self.default
        what = f"program command line option --{self.name}"
        if isinstance(self.default, bool):
            words = {"": True, "true": True, "1": True, "false": False, "0": False}
            if text.removeprefix("=") in words:
                return words[text.removeprefix("=")]
            diagnostics.error(f"{what} expects a boolean (e.g. 'true') (value: {text[1:]})", None)
        elif isinstance(self.default, bytes):
            if text:
                return text[1:].encode("utf-8", "surrogateescape")
            diagnostics.error(f"{what} expects a string (value: true)", None)
        elif not text:
            diagnostics.error(f"{what} expects an integer (value: true)", None)
        else:
            number = read_integer(text[1:])
            if number is not None and -(1 << 63) <= number < 1 << 64:
                return number
            if text[1:].removeprefix("-").isdecimal():
                diagnostics.error(f"{what} value is out of range (value: {text[1:]})", None)
            else:
                diagnostics.error(f"{what} invalid integer (value: {text[1:]})", None)
        return self.default


def option_of(call: ast.Call, diagnostics: Diagnostics) -> ScriptOption | None:
    """Return the option that a call of ``getopt`` names, or ``None`` when the call is wrong."""
    name, *rest = call.args
    if not isinstance(name, ast.String):
        diagnostics.error("First argument to 'getopt' must be a string literal.", name.span)
        return None
    default = _literal(rest[0]) if rest else False
    if default is None:
        diagnostics.error(
            "Second argument to 'getopt' must be a string literal, integer literal, or a boolean literal.",
            rest[0].span,
        )
        return None
    text = rest[1] if len(rest) > 1 else None
    if text is not None and not isinstance(text, ast.String):
        diagnostics.error("Third argument to 'getopt' must be a string literal.", text.span)
        return None
    shown = text.value.decode("utf-8", "replace") if text is not None else ""
    return ScriptOption(name.value.decode("utf-8", "surrogateescape"), default, shown)


def _literal(node: ast.Expr) -> int | bool | bytes | None:
    if isinstance(node, ast.Unary) and node.op == "-" and isinstance(node.operand, ast.Integer):
        return -node.operand.value
    return node.value if isinstance(node, ast.Integer | ast.Boolean | ast.String) else None


def script_options(program: ast.Program, diagnostics: Diagnostics) -> dict[str, ScriptOption]:
    """Return the options that a program asks for, by name, in source order."""
    found: dict[str, ScriptOption] = {}
    for call in _calls(program):
        option = option_of(call, Diagnostics())
        if option is None:
            continue
        first = found.setdefault(option.name, option)
        if type(first.default) is not type(option.default) or first.default != option.default:
            diagnostics.error(
                f"Command line option '{option.name}' needs to have the same default value in all places it is used."
                f" Previous default value: {_shown(first.default)}",
                call.span,
            )
    return found


def _shown(value: int | bool | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).lower()


def _calls(program: ast.Program) -> Iterator[ast.Call]:
    for probe in program.probes:
        for node in walk(probe):
            if isinstance(node, ast.Call) and node.name == "getopt" and 1 <= len(node.args) <= 3:
                yield node


def check_script_options(program: ast.Program, named: Mapping[str, str], diagnostics: Diagnostics) -> None:
    """Refuse options that the program does not ask for, and options with two defaults.

    Raises:
        SemanticError: an option is unknown.
    """
    if not named and not any(True for _ in _calls(program)):
        return
    known = script_options(program, diagnostics)
    unknown = [name for name in named if name not in known]
    if unknown:
        message = "unexpected program command line options: " + ", ".join(f"--{name}" for name in unknown)
        hint = "expected program options: " + " ".join(f"--{name}" for name in known)
        raise SemanticError([Diagnostic(message, None, hints=(hint,) if known else ())])


def format_script_help(program: ast.Program) -> str:
    """Return what ``-- --help`` prints: the script's options, a line each."""
    lines = ["HINT: expected program options:"]
    for option in script_options(program, Diagnostics()).values():
        lines.append(f"--{option.name}: {option.text}" if option.text else f"--{option.name}")
    return "\n".join(lines) + "\n"
