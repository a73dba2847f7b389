"""Parse types as the bpftrace language writes them."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.cursor import Cursor, SyntaxAbort
from trapline.frontends.bpftrace.lexer import Kind
from trapline.source import Span

# Names that are always types, never values.
_NAMES = """
    int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool void string buffer inet usym_t ksym_t
    kstack_t ustack_t username_t macaddr_t cgroup_path_t timestamp mac_address count_t sum_t min_t max_t
    avg_t stats_t usum_t umin_t umax_t uavg_t ustats_t hist_t lhist_t tseries_t char short int long
    unsigned signed u8 u16 u32 u64 s8 s16 s32 s64 __u8 __u16 __u32 __u64 __s8 __s16 __s32 __s64 float
    double
"""
TYPE_NAMES = frozenset(_NAMES.split())
_C_INTEGER_WORDS = frozenset({"unsigned", "signed", "char", "short", "int", "long"})
_QUALIFIERS = ("const", "volatile")


class TypeParser(Cursor):
    """Parses types; expressions inside of them come from the subclass."""

    def expression(self) -> ast.Expr:
        """Parse an expression."""
        raise NotImplementedError

    def type(self) -> ast.TypeExpr:
        """Parse a type, or fail."""
        start = self.token.span
        with self.nested():
            return self._array_suffixes(self._pointer_suffixes(self._base_type(), start), start)

    def _base_type(self) -> ast.TypeExpr:
        start = self.token.span
        while self.accept(*_QUALIFIERS):
            pass
        if self.at("typeof"):
            self.advance()
            self.expect("(")
            with self.bracketed():
                operand = self.type_or_expression()
            self.expect(")")
            return ast.TypeofType(self.span_from(start), operand)
        if self.at("("):
            self.advance()
            elements: list[ast.TypeExpr] = []
            with self.bracketed():
                while not self.at(")"):
                    elements.append(self.type())
                    if not self.accept(","):
                        break
            self.expect(")")
            return ast.TupleType(self.span_from(start), tuple(elements))
        if self.at("struct", "union", "enum"):
            tag = self.advance().text
            name = self.expect_kind(Kind.NAME, f"a name of a {tag}").text
            return ast.NamedType(self.span_from(start), name, tag)
        if self.at(*_C_INTEGER_WORDS):
            words = [self.advance().text]
            while self.at(*_C_INTEGER_WORDS):
                words.append(self.advance().text)
            return ast.NamedType(self.span_from(start), " ".join(words))
        name = self.expect_kind(Kind.NAME, "a type").text
        return ast.NamedType(self.span_from(start), name)

    def _pointer_suffixes(self, base: ast.TypeExpr, start: Span) -> ast.TypeExpr:
        while self.at("*", *_QUALIFIERS):
            if self.advance().text == "*":
                base = ast.PointerType(self.span_from(start), base)
                if _pointer_depth(base) > 16:
                    self.fail("pointer to pointer, too many levels", self.span_from(start))
        return base

    def _array_suffixes(self, base: ast.TypeExpr, start: Span) -> ast.TypeExpr:
        lengths: list[ast.Expr | None] = []
        while self.accept("["):
            length = None
            if not self.at("]"):
                with self.bracketed():
                    length = self.expression()
            self.expect("]")
            lengths.append(length)
            if len(lengths) > 8:
                self.fail("array type has too many dimensions", self.span_from(start))
        for length in reversed(lengths):
            base = ast.ArrayType(self.span_from(start), base, length)
        return base

    def type_or_expression(self) -> ast.Expr | ast.TypeExpr:
        """Parse the operand of ``sizeof`` and ``typeof``: a type if it can only be one, else an expression."""
        kind = self.speculate_type()
        if kind is not None:
            token = self.token
            bare = isinstance(kind, ast.NamedType) and not kind.tag and kind.name not in TYPE_NAMES
            if token.is_(")", ",") and not (bare and not looks_like_type(kind)):
                return kind
            self.seek(kind.span.start)
        return self.expression()

    def speculate_type(self) -> ast.TypeExpr | None:
        """Parse a type if the text allows it, else consume nothing and return ``None``."""
        if self.token.kind is not Kind.NAME:
            return None
        saved = self.token, self.previous, len(self.diagnostics.items)
        try:
            return self.type()
        except SyntaxAbort:
            self.token, self.previous = saved[0], saved[1]
            del self.diagnostics.items[saved[2] :]
            return None


def _pointer_depth(type_: ast.TypeExpr) -> int:
    depth = 0
    while isinstance(type_, ast.PointerType):
        depth += 1
        type_ = type_.target
    return depth


def looks_like_type(type_: ast.TypeExpr) -> bool:
    """Tell whether the text can only mean a type, going by its spelling."""
    if isinstance(type_, ast.NamedType):
        words = type_.name.split()
        return bool(type_.tag) or words[0] in TYPE_NAMES or type_.name.endswith("_t")
    if isinstance(type_, ast.ArrayType):
        return looks_like_type(type_.element)
    return True
