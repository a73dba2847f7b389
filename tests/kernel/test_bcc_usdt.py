"""USDT probes of BCC scripts: arguments of every form, semaphores, processes, what tplist shows."""

from __future__ import annotations

import ctypes as ct
import subprocess
import time

import pytest
from tests.harness.limits import scaled
from tests.harness.processes import running
from tests.kernel.test_uprobe import PROGRAMS, TRACED
from tests.kernel.test_usdt import read_semaphore

from trapline.bcc import BPF, USDT, USDTException

pytestmark = pytest.mark.limit(60)

FORMS = """
struct data_t { int a1; u64 a2; s64 a3; long a4; u64 a5; };
BPF_PERF_OUTPUT(events);
int on_forms(struct pt_regs *ctx)
{
    struct data_t data = {};
    bpf_usdt_readarg(1, ctx, &data.a1);
    bpf_usdt_readarg(2, ctx, &data.a2);
    bpf_usdt_readarg(3, ctx, &data.a3);
    bpf_usdt_readarg(4, ctx, &data.a4);
    bpf_usdt_readarg(5, ctx, &data.a5);
    events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
"""


def collect(b, count, table="events"):
    got = []
    b[table].open_perf_buffer(lambda cpu, data, size: got.append(b[table].event(data)))
    return got, lambda: wait(b, got, count)


def wait(b, got, count):
    end = time.monotonic() + scaled(15)
    while len(got) < count and time.monotonic() < end:
        b.perf_buffer_poll(100)
    assert len(got) >= count
    return got


@pytest.mark.parametrize("name", ["traced", "traced-fixed"])
def test_arguments_of_every_form(name):
    path = str(PROGRAMS / name)
    usdt = USDT(path=path)
    usdt.enable_probe(probe="tt:forms", fn_name="on_forms")
    with BPF(text=FORMS, usdt_contexts=[usdt]) as b:
        assert b.num_open_uprobes() == 1
        _, finish = collect(b, 1)
        subprocess.run([path], check=True, stdout=subprocess.DEVNULL)
        event = finish()[0]
        # numbers[2] of the loop's first turn; the low bytes of i + 300 and of -i
        expected = (-9, 9, (3 + 300) & 0xFF, -3 & 0xFFFF, 9)
        assert (event.a1, event.a2, event.a3, event.a4, event.a5) == expected


def test_places_with_different_arguments_share_a_program():
    text = """
    struct data_t { int a1, a2; };
    BPF_PERF_OUTPUT(events);
    int on_multi(struct pt_regs *ctx)
    {
        struct data_t data = {};
        bpf_usdt_readarg(1, ctx, &data.a1);
        bpf_usdt_readarg(2, ctx, &data.a2);
        events.perf_submit(ctx, &data, sizeof(data));
        return 0;
    }
    """
    usdt = USDT(path=str(TRACED))
    usdt.enable_probe_or_bail("multi", "on_multi")
    assert "bpf_get_attach_cookie" in usdt.get_text()
    with BPF(text=text, usdt_contexts=[usdt]) as b:
        _, finish = collect(b, 2)
        subprocess.run([str(TRACED)], check=True, stdout=subprocess.DEVNULL)
        assert [(event.a1, event.a2) for event in finish()] == [(3, 0), (-3, 11)]


STRING = """
struct data_t { u32 pid; char text[16]; };
BPF_PERF_OUTPUT(events);
int on_one(struct pt_regs *ctx)
{
    struct data_t data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_usdt_readarg_p(2, ctx, &data.text, sizeof(data.text));
    events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
"""


def test_strings_and_processes():
    with running(TRACED, "100000") as pid, running(TRACED, "100000") as other:
        usdt = USDT(pid=pid)
        usdt.enable_probe("one", "on_one")
        assert {place[3] for place in usdt.enumerate_active_probes()} == {pid}
        with BPF(text=STRING, usdt_contexts=[usdt]) as b:
            _, finish = collect(b, 5)
            got = finish()
            assert {event.pid for event in got} == {pid}
            assert {event.text[:4] for event in got} == {b"text"}
        with BPF(text=STRING, usdt_contexts=[usdt], attach_usdt_ignore_pid=True) as b:
            got, _ = collect(b, 1)
            end = time.monotonic() + scaled(15)
            while {event.pid for event in got} < {pid, other} and time.monotonic() < end:
                b.perf_buffer_poll(100)
            assert {event.pid for event in got} >= {pid, other}


def test_a_semaphore_is_held_while_attached():
    text = """
    BPF_ARRAY(seen, int, 1);
    int on_guarded(struct pt_regs *ctx)
    {
        int zero = 0, value = 0;
        bpf_usdt_readarg(1, ctx, &value);
        seen.update(&zero, &value);
        return 0;
    }
    """
    with running(TRACED, "100000") as pid:
        usdt = USDT(pid=pid, path=str(TRACED))
        usdt.enable_probe("guarded", "on_guarded")
        assert read_semaphore(pid) == 0
        with BPF(text=text, usdt_contexts=[usdt]) as b:
            assert read_semaphore(pid) > 0
            end = time.monotonic() + scaled(15)
            while b["seen"][ct.c_int(0)].value != 42 and time.monotonic() < end:
                time.sleep(0.05)
            assert b["seen"][ct.c_int(0)].value == 42
        assert read_semaphore(pid) == 0


def test_probes_as_tplist_shows_them():
    usdt = USDT(path=str(TRACED))
    probes = {probe.short_name(): probe for probe in usdt.enumerate_probes()}
    multi = probes["tt:multi"]
    assert multi.bin_path == str(TRACED).encode()
    assert multi.num_locations == 2
    assert str(multi) == "tt:multi [sema 0x0]"
    place = multi.get_location(1)
    assert str(place) == f"{TRACED} 0x{place.address:x}"
    assert place.num_arguments == 2
    assert str(place.get_argument(1)) == "4 unsigned bytes @ *(dx + 8)"
    guarded = next(probe for name, probe in probes.items() if name.endswith(":guarded"))
    assert guarded.semaphore
    with pytest.raises(USDTException, match="argument 2 location 1"):
        place.get_argument(2)


def test_what_cannot_be_enabled(capsys):
    usdt = USDT(path=str(TRACED))
    with pytest.raises(USDTException, match="Failed to enable USDT probe 'nosuch'"):
        usdt.enable_probe("nosuch", "f")
    with pytest.raises(SystemExit) as caught:
        usdt.enable_probe_or_bail("nosuch", "f")
    assert caught.value.code == 1
    assert "Failed to enable USDT probe 'nosuch'" in capsys.readouterr().err
    with pytest.raises(USDTException, match="failed to instrument path"):
        USDT(path="/nosuch")
    with pytest.raises(USDTException, match="must be specified"):
        USDT()
