"""Hits that the kernel drops are counted and attributed, on every kernel that can tell."""

from __future__ import annotations

import threading
import time

import pytest
from tests.kernel.tiny_objects import attached, program, target

from trapline.ir.spec import AttachPoint, KprobeAttach, KprobeMultiAttach

pytestmark = [pytest.mark.needs("kprobes"), pytest.mark.limit(120)]


def test_nothing_missed_is_zero() -> None:
    point = AttachPoint(KprobeAttach("do_nanosleep"), "kprobe:do_nanosleep")
    with attached(program(1, point)) as running:
        time.sleep(0.001)
        assert [(row.label, row.count) for row in running.loaded.missed()] == [("kprobe:do_nanosleep", 0)]


def test_a_probe_inside_another_probes_program() -> None:
    # The program of the first calls a helper that the second probes: the kernel does not nest kprobes.
    outer = AttachPoint(KprobeAttach("do_nanosleep"), "kprobe:do_nanosleep")
    inner = AttachPoint(KprobeAttach("bpf_get_current_pid_tgid"), "kprobe:bpf_get_current_pid_tgid")
    with attached(program(1, outer), program(2, inner)) as running:
        for _ in range(5):
            time.sleep(0.001)
        assert 2 not in {tag for tag, _, _ in running.records()}
        missed = {row.label: row.count for row in running.loaded.missed()}
        assert missed["kprobe:do_nanosleep"] == 0
        assert (missed["kprobe:bpf_get_current_pid_tgid"] or 0) >= 5
        running.loaded.detach()
        assert {row.label: row.count for row in running.loaded.missed()} == missed


def test_a_kretprobe_without_free_instances() -> None:
    point = AttachPoint(KprobeAttach("do_nanosleep", retprobe=True), "kretprobe:do_nanosleep")
    sleepers = 40  # the kernel keeps max(10, 2 * CPUs) instances
    with attached(program(1, point)) as running:
        threads = [threading.Thread(target=time.sleep, args=(1.0,)) for _ in range(sleepers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        seen = len(running.records())
        (row,) = running.loaded.missed()
        assert (row.count or 0) > 0 and "kretprobe" in row.reason
        # Every hit was seen or counted as missed (other processes may add to both).
        assert seen + (row.count or 0) >= sleepers


@pytest.mark.needs("kprobe_multi")
def test_a_multi_link_inside_another_probes_program() -> None:
    outer = AttachPoint(KprobeMultiAttach(("do_nanosleep",)), "kprobe:do_nano*")
    inner = AttachPoint(KprobeMultiAttach(("bpf_get_current_pid_tgid",)), "kprobe:bpf_get_current_pid*")
    with attached(program(1, outer), program(2, inner)) as running:
        for _ in range(5):
            time.sleep(0.001)
        assert 2 not in {tag for tag, _, _ in running.records()}
        assert target().has("link_info_missed")
        missed = [row for row in running.loaded.missed() if row.label == "kprobe:bpf_get_current_pid*"]
        assert sum(row.count or 0 for row in missed) >= 5
