"""The tables of built-ins and functions."""

from __future__ import annotations

import pytest
from tests.golden.bpftrace.target import FixtureTarget

from trapline.errors import SemanticError
from trapline.frontends.bpftrace import CompileOptions, compile_program
from trapline.frontends.bpftrace.builtins import BUILTINS
from trapline.frontends.bpftrace.functions import FUNCTIONS
from trapline.ir import spec
from trapline.ir import values as v
from trapline.source import Source


def compiled(body: str, probe: str = "BEGIN", *, unsafe: bool = True) -> spec.ModuleSpec:
    return compile_program(Source("t", f"{probe} {{ {body} }}"), FixtureTarget(), CompileOptions(unsafe=unsafe)).module


@pytest.mark.parametrize("row", [*BUILTINS.values(), *FUNCTIONS.values()], ids=lambda row: row.name)
def test_a_row_says_what_it_is(row: object) -> None:
    assert getattr(row, "doc", "").strip()


@pytest.mark.parametrize("name", ["strerror", "signal_name", "syscall_name"])
def test_printed_names_are_numbers_for_the_reader(name: str) -> None:
    module = compiled(f'printf("%s", {name}(1)); print({name}(2));')
    assert not [m for m in module.maps if m.name == f".{name}"]
    printf, value = module.events
    assert isinstance(printf, spec.PrintfEvent) and isinstance(printf.args[0].value, v.NameV)
    assert isinstance(value, spec.PrintValueEvent) and isinstance(value.field.value, v.NameV)


@pytest.mark.parametrize("name", ["strerror", "signal_name", "syscall_name"])
def test_kept_names_come_out_of_a_constant_map(name: str) -> None:
    module = compiled(f"@[{name}(1)] = {name}(2);")
    (table,) = [m for m in module.maps if m.name == f".{name}"]
    assert table.frozen and table.initial and table.value_size == len(table.initial)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print(strlen(5));", "string-like values must be either strings, arrays or pointers"),
        ("print(strstr(1, 2));", "string-like values"),
        ("print(memcmp(@a, 1, 1)); @a = count();", "memcmp() cannot compare a value of type 'count_t'"),
        ('print(strerror("a"));', "must be an integer"),
        ("print(pton(5));", "pton() expects a string literal"),
        ('print(pton("x"));', "pton() expects an IPv4 or IPv6 address, got x"),
        ('print(pton("1.2.3"));', "pton() expects a valid IPv4/IPv6 address, got 1.2.3"),
        ('print(macaddr("abcdef"));', "macaddr() does not support literal string arguments"),
        ('print(bswap("a"));', "bswap() only supports integer arguments"),
        ("print(socket_cookie(curtask));", 'socket_cookie can not be used with "begin" probes'),
        ("print(ppid(5));", "Can not access field 'real_parent' on expression of type 'int8'"),
        ("print(pid(1));", "pid() only supports curr_ns and init as the argument"),
        ("write_user(0, 5, 0);", "write_user() needs a positive size"),
        ('debugf("%d %d %d %d", 1, 2, 3, 4);', "cannot use more than 3 conversion specifiers"),
        ('debugf("%c", 65);', "Invalid format specifier for `debugf`: c"),
    ],
)
def test_wrong_arguments(body: str, message: str) -> None:
    with pytest.raises(SemanticError) as caught:
        compiled(body)
    assert message in str(caught.value)


@pytest.mark.parametrize("call", ["signal(9)", "signal_thread(9)", "override(1)", "write_user(0, 5, 1)"])
def test_unsafe_functions_say_so(call: str) -> None:
    with pytest.raises(SemanticError, match="unsafe function being used in safe mode"):
        compiled(f"{call};", "kprobe:vfs_read", unsafe=False)
    compiled(f"{call};", "kprobe:vfs_read")
