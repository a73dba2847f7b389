"""Print syntax trees, one node a line, children indented by a space."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.frontends.bpftrace import ast
from trapline.records import annotations_of

# How to call a node and which of its fields make its line; the other fields are children.
_ATTRIBUTES = ("name", "tag", "op", "arrow", "postfix", "index", "path", "key", "kind", "text", "unsigned", "comptime")


def format_program(program: ast.Program) -> str:
    """Return the tree of `program` as text."""
    return format_node(program) + "\n"


def format_node(node: ast.Node) -> str:
    """Return the tree under `node` as text, without a final newline."""
    return "\n".join(_lines(node, 0))


def format_type(type_: ast.TypeExpr | ast.Expr) -> str:
    """Return a type as the program would write it."""
    if isinstance(type_, ast.NamedType):
        return f"{type_.tag} {type_.name}" if type_.tag else type_.name
    if isinstance(type_, ast.PointerType):
        target = format_type(type_.target)
        return target + ("*" if target.endswith("*") else " *")
    if isinstance(type_, ast.ArrayType):
        return f"{format_type(type_.element)}[{type_.length.span.text if type_.length else ''}]"
    if isinstance(type_, ast.TupleType):
        return "(" + ", ".join(format_type(e) for e in type_.elements) + ")"
    return type_.span.text


def _lines(node: ast.Node, depth: int) -> Iterator[str]:
    pad = " " * depth
    if isinstance(node, ast.AttachPoint):
        yield pad + _format_attach_point(node)
        return
    if isinstance(node, ast.NamedType | ast.PointerType | ast.ArrayType | ast.TupleType):
        yield f"{pad}type: {format_type(node)}"
        return
    words = [type(node).__name__]
    children: list[tuple[str, object]] = []
    for name in annotations_of(type(node)):
        value = getattr(node, name)
        if name in ("span", "source") or (name == "last" and isinstance(node, ast.ExpressionStatement)):
            continue
        if isinstance(value, ast.Node | tuple) and not (isinstance(value, tuple) and _is_path(value)):
            children.append((name, value))
        elif isinstance(value, bool):
            if isinstance(node, ast.Boolean | ast.ConfigEntry):
                words.append(str(value).lower())
            elif value:
                words.append(name)
        elif isinstance(value, bytes):
            words.append('"' + value.decode("latin-1").encode("unicode_escape").decode() + '"')
        elif isinstance(value, tuple):
            words.append(".".join(value))
        elif value is not None and value != "":
            words.append(str(value) if isinstance(value, int) or name in _ATTRIBUTES else repr(value))
    yield pad + " ".join(words)
    for name, value in children:
        yield from _child_lines(name, value, depth + 1)


def _is_path(value: tuple[object, ...]) -> bool:
    return bool(value) and all(isinstance(v, str) for v in value)


def _child_lines(name: str, value: object, depth: int) -> Iterator[str]:
    if isinstance(value, ast.Node):
        if name in ("predicate", "condition", "otherwise", "count"):
            yield " " * depth + name
            depth += 1
        yield from _lines(value, depth)
    elif isinstance(value, tuple):
        for item in value:
            if isinstance(item, tuple):  # (name, node) of records, (variable, type) of functions
                if isinstance(item[0], str):
                    yield " " * depth + item[0]
                    yield from _child_lines(name, item[1], depth + 1)
                else:
                    yield from _child_lines(name, item, depth)
            else:
                yield from _child_lines(name, item, depth)


def _format_attach_point(point: ast.AttachPoint) -> str:
    words = [f"AttachPoint {point.provider}"]
    for name in annotations_of(type(point)):
        value = getattr(point, name)
        if name not in ("span", "provider", "text") and value not in ("", 0, None):
            words.append(f"{name}={value:#x}" if name == "address" else f"{name}={value}")
    return " ".join(words)
