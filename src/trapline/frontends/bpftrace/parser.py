"""Parse a program text: C preamble, config, imports, declarations, probes.

kprobe:f /pid == 1/ { @ = count() }   →   Program(probes=(Probe(attach_points=(…), predicate=…, body=…),))
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trapline.errors import ParseError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.cursor import SyntaxAbort
from trapline.frontends.bpftrace.depth import deep_recursion
from trapline.frontends.bpftrace.lexer import Kind
from trapline.frontends.bpftrace.parse_attach_points import PROVIDERS, parse_attach_point, scan_attach_point
from trapline.frontends.bpftrace.parse_statements import StatementParser, TooManyErrors
from trapline.source import Diagnostic, Diagnostics, Source

_DIRECTIVE = re.compile(r"#(?:[^\n\\]|\\\n|\\.)*", re.DOTALL)
_C_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\.)+'")
_C_WORDS = ("struct", "union", "enum", "typedef")
_MAP_KINDS = ("hash", "lruhash", "percpuhash", "percpulruhash")


def parse_program(source: Source, positional: Sequence[str] = (), *, imported: bool = False) -> ast.Program:
    """Parse `source`.

    Args:
        source: the program text.
        positional: the script's arguments, which attach points may name as ``$1``.
        imported: another program imports this one, which then needs no probes.

    Returns:
        The syntax tree.

    Raises:
        ParseError: with every syntax error that was found.
    """
    diagnostics = Diagnostics()
    parser = _ProgramParser(source, diagnostics, positional, imported)
    try:
        with deep_recursion():
            program = parser.program()
    except (SyntaxAbort, TooManyErrors):
        program = None
    errors = _distinct(diagnostics.errors)
    if errors or program is None:
        raise ParseError(errors)
    return program


def _distinct(errors: list[Diagnostic]) -> list[Diagnostic]:
    seen: dict[tuple[str, int], Diagnostic] = {}
    for error in errors:
        seen.setdefault((error.message, error.span.start if error.span else -1), error)
    return sorted(seen.values(), key=lambda e: e.span.start if e.span else -1)


class _ProgramParser(StatementParser):
    def __init__(self, source: Source, diagnostics: Diagnostics, positional: Sequence[str], imported: bool) -> None:
        super().__init__(source, diagnostics)
        self._positional = positional
        self._imported = imported
        self._preamble: list[ast.CText] = []
        self._config: list[ast.ConfigEntry] | None = None
        self._imports: list[ast.Import] = []
        self._maps: list[ast.MapDeclaration] = []
        self._macros: list[ast.Macro] = []
        self._functions: list[ast.Function] = []
        self._probes: list[ast.Probe] = []

    def program(self) -> ast.Program:
        text = self.source.text
        self.seek(text.find("\n") if text.startswith("#!") and "\n" in text else len(text) if text[:2] == "#!" else 0)
        while self.token.kind is not Kind.END:
            begin = self.token
            try:
                self._top_level()
            except SyntaxAbort:
                self.nesting = 0
                self.in_predicate = False
                self.recover(begin.span)
                while self.at("}", ";"):
                    self.advance()
        lenient = self._imported or self._imports or self._macros or self._functions
        if not (self._probes or lenient or self.diagnostics.errors):
            end = self.source.span(0, min(1, len(text)))
            self.fail(
                "No probes to attach" if text.strip() else "the program is empty",
                end,
                "A program is at least: begin { … }",
            )
        return ast.Program(
            self.source.span(0, len(text)),
            self.source,
            tuple(self._preamble),
            tuple(self._config or ()),
            tuple(self._imports),
            tuple(self._maps),
            tuple(self._macros),
            tuple(self._functions),
            tuple(self._probes),
        )

    def _top_level(self) -> None:
        token = self.token
        if self.accept(";"):
            return
        if self.at("#"):
            self._directive()
        elif self.at(*_C_WORDS):
            self._c_definition()
        elif self.at("config") and self.peek().is_("="):
            self._config_block()
        elif self.at("import") and self.peek().kind is Kind.STRING:
            if self._late():
                self.diagnostics.error("syntax: root imports must appear before probes and functions", token.span)
            self._imports.append(self.import_())
        elif self.at("let"):
            self._map_declaration()
        elif self.at("macro") and self.peek().kind is Kind.NAME:
            self._macro()
        elif self.at("fn") and self.peek().kind is Kind.NAME:
            self._function()
        else:
            self._probe()

    def _late(self) -> bool:
        """Tell whether there was something that settings and imports stand before."""
        return bool(self._probes or self._macros or self._functions or self._maps)

    def _directive(self) -> None:
        start = self.token.span.start
        match = _DIRECTIVE.match(self.source.text, start)
        end = match.end() if match else start + 1
        self._c_text(start, end)

    def _c_definition(self) -> None:
        start, found = self.token.span, len(self.diagnostics.items)
        declares = self.at("typedef")  # something behind the body
        depth, end = 0, start.end
        while not (depth == 0 and self.at(";")):
            if self.token.kind is Kind.END:
                what = "'}'" if depth else "';'"
                self.fail(f"syntax: expected {what} at the end of this C definition", start)
            last = depth == 1 and self.at("}")
            depth += self.at("{") - self.at("}")
            end = self._skip_c()
            if last and not declares:
                end = self._skip_attributes(end)
                break
        del self.diagnostics.items[found:]  # C has tokens that the language has not
        self._c_text(start.start, self.token.span.end if self.at(";") else end)

    def _at_end(self) -> bool:
        return self.token.kind is Kind.END

    def _skip_c(self) -> int:
        """Skip a token of C; return where it ends."""
        literal = _C_CHARACTER.match(self.source.text, self.token.span.start)
        end = literal.end() if literal else self.token.span.end
        self.seek(end)
        return end

    def _skip_attributes(self, end: int) -> int:
        """Skip ``__attribute__((packed))`` and its like; the semicolon behind them may be left out."""
        while self.token.kind is Kind.NAME and self.token.text.startswith("__"):
            end = self._skip_c()
            depth = 0
            while self.at("(") or (depth and not self._at_end()):
                depth += self.at("(") - self.at(")")
                end = self._skip_c()
        return end

    def _c_text(self, start: int, end: int) -> None:
        span = self.source.span(start, end)
        if self._late() or self._config is not None or self._imports:
            message = "syntax: C definitions must appear before probes and functions"
            self.diagnostics.error(message, span, "Move them to the top of the program.")
        self._preamble.append(ast.CText(span, span.text))
        self.previous = span
        self.seek(end)

    def _config_block(self) -> None:
        token = self.advance()
        if self._config is not None:
            self.diagnostics.error("syntax: duplicate config block", token.span)
        if self._late():
            self.diagnostics.error("syntax: config must appear before probes and functions", token.span)
        self._config = self._config or []
        self.expect("=")
        self.expect("{")
        while not self.accept("}"):
            key = self.expect_kind(Kind.NAME, "a name of a setting or '}'")
            self.expect("=")
            value = self._config_value()
            self._config.append(ast.ConfigEntry(self.span_from(key.span), key.text, value))
            if not self.accept(";") and not self.at("}"):
                self.fail_expected("';' or '}'")
        self.accept(";")

    def _config_value(self) -> int | str | bool:
        token = self.token
        if token.kind is Kind.INTEGER:
            self.advance()
            return int(token.value)
        if token.kind is Kind.STRING:
            self.advance()
            assert isinstance(token.value, bytes)
            return token.value.decode("utf-8", "surrogateescape")
        word = self.expect_kind(Kind.NAME, "string, int, boolean, or ident").text
        return word == "true" if word in ("true", "false") else word

    def _map_declaration(self) -> None:
        start = self.advance().span
        if self.token.kind is Kind.VARIABLE:
            self.fail(
                "syntax: root-level let statements need to be map declarations, e.g. let @a = hash(2);", self.token.span
            )
        name = self.expect_kind(Kind.MAP, "a map")
        self.expect("=")
        kind = self.expect_kind(Kind.NAME, "a map type")
        if kind.text not in _MAP_KINDS:
            self.diagnostics.error(
                f"Invalid bpf map type: {kind.text}", kind.span, "Valid map types: " + ", ".join(_MAP_KINDS) + "."
            )
        self.expect("(")
        entries = self.expression()
        self.expect(")")
        span = self.span_from(start)
        if not self.accept(";") and self.token.kind is not Kind.END:
            self.fail_expected("';'")
        self._maps.append(ast.MapDeclaration(span, ast.MapName(name.span, name.text), kind.text, entries))

    def _macro(self) -> None:
        start = self.advance().span
        name = self.expect_kind(Kind.NAME).text
        head = self.span_from(start)
        self.expect("(")
        parameters: list[ast.Variable | ast.MapName | ast.Identifier] = []
        while not self.at(")"):
            token = self.token
            self.advance()
            if token.kind is Kind.VARIABLE:
                parameters.append(ast.Variable(token.span, token.text[1:]))
            elif token.kind is Kind.MAP:
                parameters.append(ast.MapName(token.span, token.text))
            elif token.kind is Kind.NAME:
                parameters.append(ast.Identifier(token.span, token.text))
            else:
                self.fail("syntax: expected macro argument ($var, @map, or identifier)", token.span)
            if not self.accept(","):
                break
        self.expect(")")
        body = self.block_value(self.block())
        self._macros.append(ast.Macro(head, name, tuple(parameters), body))

    def _function(self) -> None:
        start = self.advance().span
        name = self.expect_kind(Kind.NAME).text
        self.expect("(")
        parameters: list[tuple[ast.Variable, ast.TypeExpr]] = []
        while not self.at(")"):
            token = self.expect_kind(Kind.VARIABLE, "a parameter")
            self.expect(":")
            parameters.append((ast.Variable(token.span, token.text[1:]), self.type()))
            if not self.accept(","):
                break
        self.expect(")")
        result = self.type() if self.accept(":") else None
        head = self.span_from(start)
        self._functions.append(ast.Function(head, name, tuple(parameters), result, self.block()))

    def _probe(self) -> None:
        start = self.token.span
        points: list[ast.AttachPoint] = []
        position = start.start
        while True:
            position = self.lexer.skip_blank(position)
            end = scan_attach_point(self.source, position)
            span = self.source.span(position, max(end, min(position + 1, len(self.source.text))))
            if end == position:
                self.seek(position)
                self.fail_expected("an attach point", "An attach point is PROVIDER:…, for example kprobe:do_nanosleep.")
            point = parse_attach_point(span, self._positional, self.diagnostics)
            if point is not None:
                points.append(point)
            self.previous = span
            self.seek(end)
            if not self.at(","):
                break
            position = self.token.span.end
            if self.lexer.token(position).is_("{", "/"):  # a trailing comma
                self.advance()
                break
        predicate = self._predicate() if self.at("/") else None
        if not self.at("{"):
            self._explain_missing_block(points)
        head = self.span_from(start)
        body = self.block()
        if points or self.diagnostics.errors:
            self._probes.append(ast.Probe(head, tuple(points), predicate, body))

    def _explain_missing_block(self, points: list[ast.AttachPoint]) -> None:
        hints: tuple[str, ...] = ()
        if points and points[-1].provider not in PROVIDERS:
            hints = ("An attach point is PROVIDER:…, for example kprobe:do_nanosleep.",)
        self.fail_expected("'{'", *hints)

    def _predicate(self) -> ast.Expr:
        self.expect("/")
        self.in_predicate = True
        predicate = self.expression()
        self.in_predicate = False
        self.expect("/", "A predicate is written /condition/ before the block.")
        return predicate
