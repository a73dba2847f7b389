"""Names of errors, signals and system calls."""

from __future__ import annotations

import os
import signal

import pytest

from trapline.abi.number_names import ERRORS, SIGNALS, SYSCALLS, number_name, number_names


def test_errors() -> None:
    names, unknown = number_names(ERRORS)
    assert len(names) == 134
    for number, name in enumerate(names):
        assert (name == unknown) == os.strerror(number).startswith("Unknown error")
    assert number_name(ERRORS, -2) == number_name(ERRORS, 2) == "No such file or directory"
    assert number_name(ERRORS, 11) == "Try again (operation would block)"
    assert number_name(ERRORS, len(names)) == number_name(ERRORS, 41) == unknown


def test_signals_are_the_c_librarys() -> None:
    for number in range(1, 32):
        assert number_name(SIGNALS, number) == signal.strsignal(number)
    assert number_name(SIGNALS, 0) == "Unknown signal 0"
    assert number_name(SIGNALS, 33) == "Unknown signal 33"
    assert number_name(SIGNALS, 34) == "Real-time signal 0"
    assert number_name(SIGNALS, 64) == "Real-time signal 30"
    assert number_name(SIGNALS, 65) == number_name(SIGNALS, -1) == "N/A"


@pytest.mark.parametrize(
    ("architecture", "number", "name"),
    [
        ("x86_64", 0, "read"),
        ("x86_64", 59, "execve"),
        ("x86_64", 334, "rseq"),
        ("x86_64", 400, "Unknown syscall"),
        ("x86_64", 424, "pidfd_send_signal"),
        ("aarch64", 0, "io_setup"),
        ("aarch64", 221, "execve"),
        ("aarch64", 424, "pidfd_send_signal"),
        ("aarch64", -1, "Unknown syscall"),
        ("aarch64", 100000, "Unknown syscall"),
    ],
)
def test_system_calls(architecture: str, number: int, name: str) -> None:
    assert number_name(SYSCALLS + architecture, number) == name
