"""A module that is loaded while a process runs can be probed by that process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

import trapline
from trapline.bcc import BPF

pytestmark = [pytest.mark.needs("kprobes"), pytest.mark.limit(120)]

_MODULE, _FUNCTION = "dummy", "dummy_setup"


def _modprobe(*arguments: str) -> None:
    subprocess.run(["modprobe", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture
def _not_loaded() -> Iterator[None]:
    _modprobe("-r", _MODULE)
    yield
    _modprobe("-r", _MODULE)


@pytest.mark.usefixtures("_not_loaded")
def test_it_is_found_and_forgotten() -> None:
    wanted = f"kprobe:{_MODULE}:{_FUNCTION}"
    for _ in range(2):
        assert wanted not in trapline.probes(f"kprobe:{_MODULE}:*")
        assert BPF.get_kprobe_functions(_FUNCTION.encode()) == []
        _modprobe(_MODULE)
        assert wanted in trapline.probes(f"kprobe:{_MODULE}:*")
        assert BPF.get_kprobe_functions(_FUNCTION.encode()) == [_FUNCTION.encode()]
        with trapline.Session(f"kprobe:{_FUNCTION} {{ @calls = count(); }}") as session:
            session.attach()
            subprocess.run(["ip", "link", "add", "dummy9", "type", "dummy"], check=True, timeout=60)
            subprocess.run(["ip", "link", "delete", "dummy9"], check=True, timeout=60)
            session.finish()
            assert session.maps["@calls"].value == 1
        _modprobe("-r", _MODULE)
