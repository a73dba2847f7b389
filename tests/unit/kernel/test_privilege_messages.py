"""What a refused probe is blamed on: the capability, the lockdown mode or the sysctl in the way."""

from __future__ import annotations

import errno

import pytest

from trapline.kernel.diagnose import explain_privilege
from trapline.syscall import privilege


@pytest.mark.parametrize(
    ("missing", "mode", "paranoid", "words", "hint"),
    [
        (["CAP_PERFMON", "CAP_BPF"], "confidentiality", 4, "lacks CAP_PERFMON and CAP_BPF", "root"),
        (["CAP_BPF"], "none", 4, "lacks CAP_BPF", "root"),
        ([], "confidentiality", 2, "locked down (mode confidentiality)", "boot without lockdown=confidentiality"),
        (["CAP_SYS_ADMIN"], "none", 4, "kernel.perf_event_paranoid is 4", "sysctl kernel.perf_event_paranoid=1"),
        ([], "integrity", 2, "locked down (mode integrity)", "boot without lockdown"),
        ([], "none", 2, "Operation not permitted", "security module"),
    ],
)
def test_the_cause_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], mode: str, paranoid: int, words: str, hint: str
) -> None:
    monkeypatch.setattr(privilege, "missing_capabilities", lambda *names: [n for n in missing if n in names])
    monkeypatch.setattr(privilege, "lockdown_mode", lambda: mode)
    monkeypatch.setattr(privilege, "read_sysctl", lambda name: paranoid)
    error = explain_privilege("kprobe:do_nanosleep", errno.EPERM)
    assert error.message.startswith("cannot attach to kprobe:do_nanosleep: ") and "\n" not in error.message
    assert words in error.message and hint in (error.hint or "")
