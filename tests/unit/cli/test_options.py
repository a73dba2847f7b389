"""The option table is parsed as C's getopt does."""

from __future__ import annotations

import pytest

from trapline.cli.options import OPTIONS, UsageError, format_help, parse_arguments


def test_options_may_follow_the_program() -> None:
    found = parse_arguments(["script.bt", "-q", "-f", "json"])
    assert (found.file, found.quiet, found.format) == ("script.bt", True, "json")


def test_what_follows_two_dashes_is_the_scripts() -> None:
    found = parse_arguments(["-e", "BEGIN {}", "--", "-q", "7"])
    assert found.operands == ("-q", "7")
    assert not found.quiet


def test_clusters_and_attached_values() -> None:
    found = parse_arguments(["-lv", "kprobe:*"])
    assert (found.list, found.verbose, found.operands) == (True, 1, ("kprobe:*",))
    assert parse_arguments(["-p7", "x.bt"]).pid == 7


def test_the_last_program_wins() -> None:
    assert parse_arguments(["-e", "a", "-e", "b"]).program == "b"


def test_repeated_options_add_up() -> None:
    found = parse_arguments(["-kk", "-d", "ast,ir", "-d", "dis", "-I", "a", "-I", "b", "x.bt"])
    assert (found.warnings, found.debug, found.include_dirs) == (2, ("ast", "ir", "dis"), ("a", "b"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--nosuch"], "nosuch"),
        (["-e"], "requires argument"),
        (["-f", "xml", "x.bt"], "xml"),
        (["-B", "some", "x.bt"], "some"),
        (["-p", "abc", "x.bt"], "abc"),
        (["-p", "0", "x.bt"], "0"),
        (["-p", "1", "-c", "true", "x.bt"], "-c and -p"),
        (["--quite"], "did you mean '--quiet'"),
        (["-B", "ful", "x.bt"], "did you mean 'full'"),
        (["-p", "5000000", "x.bt"], "out of range"),
    ],
)
def test_mistakes_are_named(arguments: list[str], word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arguments(arguments)
    assert word in str(caught.value)


def test_help_lists_every_option_that_is_not_hidden() -> None:
    text = format_help()
    for option in OPTIONS:
        for name in option.names:
            assert option.hidden or name in text
