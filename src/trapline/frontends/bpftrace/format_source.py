"""Format a program: one style for all, with the comments and blank lines that it has.

begin{$a=1;if($a){print(1)}}   →   begin⏎{⏎  $a = 1;⏎  if $a {⏎    print(1)⏎  }⏎}
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.copy_tree import walk
from trapline.frontends.bpftrace.depth import deep_recursion
from trapline.frontends.bpftrace.format_expressions import WIDTH, ExpressionFormatter
from trapline.frontends.bpftrace.parser import parse_program
from trapline.source import Source

_STEP = 2
# Strings are skipped; what is left are comments.
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|(//[^\n]*|/\*.*?\*/)', re.DOTALL)
_BLANK = re.compile(r"[ \t\r\f\v]*")
# Attach points may name positional parameters, which stand for something when the program runs.
_ARGUMENTS = ("1",) * 99


def format_source(source: Source) -> str:
    """Return the program in the common style.

    Raises:
        ParseError: the text is not a program.
    """
    with deep_recursion():
        return _Formatter(source, parse_program(source, _ARGUMENTS, imported=True)).run()


class _Formatter:
    def __init__(self, source: Source, program: ast.Program) -> None:
        self._text = source.text
        self._program = program
        self._out: list[str] = []
        self._expressions = ExpressionFormatter(self._block_value)
        hidden = [(piece.span.start, piece.span.end) for piece in program.preamble]
        hidden += [(point.span.start, point.span.end) for probe in program.probes for point in probe.attach_points]
        self._shebang = source.text.split("\n", 1)[0] if source.text.startswith("#!") else ""
        self._comments = [
            (match.start(1), match.end(1))
            for match in _COMMENT.finditer(source.text, len(self._shebang))
            if match[1] and not any(start <= match.start(1) < end for start, end in hidden)
        ]
        self._at = len(self._shebang)  # how far the source is printed

    def run(self) -> str:
        if self._shebang:
            self._out.append(self._shebang)
        program = self._program
        items: list[tuple[int, ast.Node]] = []
        for group in (program.preamble, program.imports, program.maps, program.macros, program.functions):
            items += [(node.span.start, node) for node in group]
        items += [(probe.span.start, probe) for probe in program.probes]
        config = self._config_place()
        if config is not None:
            items.append((config, program))
        for start, node in sorted(items, key=lambda item: item[0]):
            self._lead(start, 0, first=not self._out)
            self._top(node)
        self._lead(len(self._text), 0, first=not self._out, last=True)
        return "\n".join(self._out).rstrip("\n") + "\n" if self._out else ""

    def _config_place(self) -> int | None:
        """Return where the config block starts."""
        match = re.compile(r"\bconfig\s*=\s*\{").search(self._text)
        while match is not None:
            inside = any(start <= match.start() < end for start, end in self._comments)
            if not inside:
                first = min((entry.span.start for entry in self._program.config), default=match.end())
                return match.start() if match.start() < first and self._before_blocks(match.start()) else None
            match = re.compile(r"\bconfig\s*=\s*\{").search(self._text, match.end())
        return None

    def _before_blocks(self, place: int) -> bool:
        starts = [node.span.start for group in (self._program.probes, self._program.macros) for node in group]
        return all(place < start for start in starts)

    # -- comments and blank lines

    def _lead(self, start: int, indent: int, *, first: bool = False, last: bool = False) -> None:
        """Print the comments before `start`, and as many blank lines as there are."""
        while self._comments and self._comments[0][0] < start:
            begin, end = self._comments.pop(0)
            if begin >= self._at:
                self._blanks(begin, first)
            first = False
            self._out += [" " * indent + line for line in self._comment(begin, end)]
            self._at = max(self._at, end)
        if not last:
            self._blanks(start, first)

    def _blanks(self, place: int, first: bool) -> None:
        gap = self._text[self._at : place]
        if not first:
            self._out += [""] * max(0, gap.count("\n") - 1)

    def _comment(self, begin: int, end: int) -> list[str]:
        text = self._text[begin:end]
        if text.startswith("//"):
            return [text.rstrip()]
        lines = text[2:-2].strip().split("\n")
        return [f"// {line.strip().lstrip('*').strip()}".rstrip() for line in lines]

    def _trail(self, end: int) -> None:
        """Print a comment that stands behind a statement in the same line; `end` is the end of the statement."""
        self._at = max(self._at, end)
        if not self._comments:
            return
        begin, stop = self._comments[0]
        if begin < end or _BLANK.fullmatch(self._text, end, begin) is None or "\n" in self._text[begin:stop]:
            return
        rest = _BLANK.match(self._text, stop)
        if rest is not None and self._text[rest.end() : rest.end() + 1] in ("", "\n"):
            self._comments.pop(0)
            self._out[-1] += " " + self._comment(begin, stop)[0]
            self._at = stop

    def _end(self, node: ast.Node) -> int:
        """Return where a statement ends, its semicolon included."""
        end = max(part.span.end for part in walk(node) if part.span.source is node.span.source)
        match = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*;", re.DOTALL).match(self._text, end)
        return match.end() if match is not None else end

    # -- the top level

    def _top(self, node: ast.Node) -> None:
        if isinstance(node, ast.Program):
            self._config()
        elif isinstance(node, ast.CText):
            self._out += node.span.text.rstrip().split("\n")
            self._trail(node.span.end)
        elif isinstance(node, ast.Import):
            self._out.append(f'import "{node.path}";')
            self._trail(self._end(node))
        elif isinstance(node, ast.MapDeclaration):
            entries = self._expressions.expression(node.entries, 0, 0)
            self._out.append(f"let {node.map.name} = {node.kind}({entries});")
            self._trail(self._end(node))
        elif isinstance(node, ast.Macro):
            self._out += self._filled(f"macro {node.name}(", [_parameter(p) for p in node.parameters], ")")
            self._braces(node.body, 0)
        elif isinstance(node, ast.Function):
            names = [f"${variable.name} : {self._expressions.type(kind)}" for variable, kind in node.parameters]
            result = f" : {self._expressions.type(node.result)}" if node.result is not None else ""
            self._out += self._filled(f"fn {node.name}(", names, ")" + result)
            self._braces(node.body, 0)
        elif isinstance(node, ast.Probe):
            points = [point.span.text for point in node.attach_points]
            self._out += [f"{text}," for text in points[:-1]] + points[-1:]
            if node.predicate is not None:
                self._out += f"/{self._expressions.expression(node.predicate, 1, 1)}/".split("\n")
            self._braces(node.body, 0)

    def _config(self) -> None:
        self._out.append("config = {")
        entries = self._program.config
        self._at = entries[0].span.start if entries else self._at
        for number, entry in enumerate(entries):
            self._lead(entry.span.start, _STEP, first=number == 0)
            _, _, value = entry.span.text.partition("=")
            self._out.append(f"  {entry.key} = {value.strip()};")
            self._trail(self._end(entry))
        end = self._text.find("}", self._at)
        self._lead(end, _STEP, last=True)
        self._out.append("}")
        match = re.compile(r"\s*;").match(self._text, end + 1)
        self._trail(match.end() if match is not None else end + 1)

    def _filled(self, head: str, items: Sequence[str], tail: str) -> list[str]:
        lines = [head]
        for number, item in enumerate(items):
            text = item + (", " if number < len(items) - 1 else tail)
            if lines[-1] != head and len(lines[-1]) + len(text.rstrip()) > WIDTH:
                lines.append(" " * len(head))
            lines[-1] += text
        if not items:
            lines[-1] += tail
        return [line.rstrip() for line in lines]

    # -- blocks

    def _braces(self, node: ast.Block | ast.BlockExpression, indent: int) -> None:
        """Print the block of a probe, macro or function, whose braces have lines of their own."""
        inner = self._statements(node, indent)
        self._out += [" " * indent + "{", *inner, " " * indent + "}"] if inner else [" " * indent + "{}"]
        self._trail(node.span.end)

    def _block(self, node: ast.Block | ast.BlockExpression, indent: int) -> str:
        """Return a block that starts behind other text."""
        inner = self._statements(node, indent)
        return "\n".join(["{", *inner, " " * indent + "}"]) if inner else "{}"

    def _statements(self, node: ast.Block | ast.BlockExpression, indent: int) -> list[str]:
        """Return the lines between the braces of a block."""
        outer, self._out = self._out, []
        self._at = max(self._at, node.span.start + 1)
        body: list[ast.Statement | ast.Expr] = list(node.body)
        if isinstance(node, ast.BlockExpression) and node.value is not None:
            body.append(node.value)
        for statement in body:
            self._lead(statement.span.start, indent + _STEP, first=not self._out)
            self._statement(statement, indent + _STEP)
        self._lead(node.span.end, indent + _STEP, first=not self._out, last=True)
        self._at = max(self._at, node.span.end)
        inner, self._out = self._out, outer
        return inner

    def _block_value(self, node: ast.BlockExpression, indent: int) -> str:
        """Return a block within an expression: in one line if it is only a value."""
        commented = any(node.span.start <= start < node.span.end for start, _ in self._comments)
        if not node.body and node.value is not None and not commented:
            text = self._expressions.expression(node.value, 0, indent)
            if "\n" not in text:
                return f"{{ {text} }}"
        return self._block(node, indent)

    # -- statements

    def _statement(self, node: ast.Statement | ast.Expr, indent: int) -> None:
        at = self._at
        end = self._end(node)
        inside = [c for c in self._comments if c[0] < end and not self._within_block(node, c[0])]
        for comment in inside:
            self._comments.remove(comment)
            self._out += [" " * indent + line for line in self._comment(*comment)]
        self._at = max(at, node.span.start)
        self._out += (" " * indent + self._line(node, indent)).split("\n")
        self._trail(end)

    def _within_block(self, node: ast.Node, place: int) -> bool:
        blocks = (n for n in walk(node) if isinstance(n, ast.Block | ast.BlockExpression))
        return any(block.span.start < place < block.span.end for block in blocks)

    def _line(self, node: ast.Statement | ast.Expr, indent: int) -> str:
        show = self._expressions
        if isinstance(node, ast.Block):
            return self._block(node, indent)
        if isinstance(node, ast.ExpressionStatement):
            if isinstance(node.value, ast.IfExpression):  # without parentheses it is a statement
                return f"({show.expression(node.value, indent + 1, indent)})" + ("" if node.last else ";")
            return show.expression(node.value, indent, indent) + ("" if node.last else ";")
        if isinstance(node, ast.Discard):
            return f"_ = {show.expression(node.value, indent + 4, indent)};"
        if isinstance(node, ast.Assign):
            head = f"{show.expression(node.target, indent, indent, 6)} {node.op}= "
            return head + show.expression(node.value, indent + len(head.split(chr(10))[-1]), indent) + ";"
        if isinstance(node, ast.Let):
            head = f"let ${node.target.name}" + (f" : {show.type(node.type)}" if node.type is not None else "")
            if node.value is None:
                return head + ";"
            return f"{head} = {show.expression(node.value, indent + len(head) + 3, indent)};"
        if isinstance(node, ast.If):
            return self._if(node, indent)
        if isinstance(node, ast.Unroll):
            return f"unroll ({show.expression(node.count, indent + 8, indent)}) {self._block(node.body, indent)}"
        if isinstance(node, ast.While):
            return f"while {show.condition(node.condition, indent + 6, indent)} {self._block(node.body, indent)}"
        if isinstance(node, ast.For):
            return f"for ${node.target.name} : {self._iterable(node.iterable, indent)} {self._block(node.body, indent)}"
        if isinstance(node, ast.Return):
            return f"return {show.expression(node.value, indent + 7, indent)};" if node.value is not None else "return;"
        if isinstance(node, ast.Import):
            return f'import "{node.path}";'
        if isinstance(node, ast.Break | ast.Continue):
            return f"{type(node).__name__.lower()};"
        return show.expression(node, indent, indent)

    def _if(self, node: ast.If, indent: int) -> str:
        head = f"if {self._expressions.condition(node.condition, indent + 3, indent)} {self._block(node.then, indent)}"
        if node.otherwise is None:
            return head
        if isinstance(node.otherwise, ast.If):
            return f"{head} else {self._if(node.otherwise, indent)}"
        return f"{head} else {self._block(node.otherwise, indent)}"

    def _iterable(self, node: ast.Expr | ast.Range, indent: int) -> str:
        if not isinstance(node, ast.Range):
            return self._expressions.expression(node, 0, indent)
        return "..".join(self._bound(side, indent) for side in (node.start, node.end))

    def _bound(self, node: ast.Expr, indent: int) -> str:
        text = self._expressions.expression(node, 0, indent)
        return text if isinstance(node, ast.Integer | ast.Variable) else f"({text})"


def _parameter(node: ast.Variable | ast.MapName | ast.Identifier) -> str:
    return f"${node.name}" if isinstance(node, ast.Variable) else node.name
