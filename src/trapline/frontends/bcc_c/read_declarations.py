"""The top level of a text: maps, programs, static functions and variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trapline.clang.c_api import Cursor
from trapline.clang.libclang import in_main_file, in_script
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.read_statements import read_statement, read_variable
from trapline.frontends.bcc_c.reading import Reader
from trapline.frontends.bcc_c.result import TableInfo
from trapline.frontends.bcc_c.tables import is_table, read_table
from trapline.records import field, record


@record
class Declarations:
    """What a text declares, its own headers included; `programs` are its externally visible functions with a body."""

    tables: dict[str, TableInfo] = field(default_factory=dict)
    programs: list[tree.FunctionTree] = field(default_factory=list)
    find_function: Callable[[str], tree.FunctionTree | None] = lambda name: None


def read_declarations(reader: Reader, root: Cursor, externs: Mapping[str, TableInfo]) -> Declarations:
    """Read the declarations of a parsed text.

    Raises:
        SemanticError, UnsupportedError: one of them has no meaning or no lowering.
    """
    result = Declarations()
    definitions: dict[str, Cursor] = {}
    programs: list[Cursor] = []
    for cursor in root.get_children():
        if not in_script(cursor):
            continue
        kind = cursor.kind
        if kind == "VarDecl":
            if is_table(cursor):
                table = read_table(reader, cursor, externs)
                result.tables[table.name] = table
                reader.tables.add(table.name)
            elif in_main_file(cursor) or cursor.storage_class != "extern":
                read_variable(reader, cursor, at_file_scope=True)
        elif kind == "FunctionDecl" and cursor.is_definition():
            definitions[cursor.spelling] = cursor
            # ``inline`` without ``static`` or ``extern`` makes no externally visible definition (C11 6.7.4).
            is_visible = cursor.storage_class != "static" and not cursor.is_function_inlined()
            if is_visible and in_main_file(cursor):
                programs.append(cursor)
    reader.read_function = lambda cursor: _read_function(reader, cursor)

    def find_function(name: str) -> tree.FunctionTree | None:
        cursor = definitions.get(name)
        return _read_function(reader, cursor) if cursor is not None else None

    result.find_function = find_function
    for cursor in programs:
        function = _read_function(reader, cursor)
        if function is not None:
            result.programs.append(function)
    return result


def _read_function(reader: Reader, cursor: Cursor) -> tree.FunctionTree | None:
    known = reader.functions.get(cursor)
    if known is not None:
        return known
    body = next((child for child in cursor.get_children() if child.kind == "CompoundStmt"), None)
    if body is None:
        return None
    if cursor.spelling in reader.reading:
        raise reader.unsupported(f"'{cursor.spelling}' calls itself: recursion is not possible in BPF", cursor)
    outer_jumps, reader.jumps = reader.jumps, False
    reader.reading.append(cursor.spelling)
    parameters = []
    for argument in cursor.get_arguments():
        parameter = tree.Variable(argument.spelling, reader.type(argument), span=reader.span(argument))
        reader.variables[argument] = parameter
        parameters.append(parameter)
    try:
        returns = reader.types.read(cursor.result_type)
        statement = read_statement(reader, body)
        assert isinstance(statement, tree.Block)
        static = cursor.storage_class == "static"
        function = tree.FunctionTree(
            cursor.spelling, returns, tuple(parameters), statement, static, reader.jumps, span=reader.span(cursor)
        )
    finally:
        reader.reading.pop()
        reader.jumps = outer_jumps
    reader.functions[cursor] = function
    return function
