"""Every attach mechanism: one contract for all, then what is particular to each."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.kernel.tiny_objects import attached, program, target, tiny_object

from trapline.abi.arch import X86_64
from trapline.abi.assembler import R0, R1, R2, R6, R7, R10, Assembler
from trapline.abi.perf import PERF_TYPE_HARDWARE, PERF_TYPE_SOFTWARE
from trapline.errors import AttachError, FeatureMissingError, NoSuchProbeError, VerifierError
from trapline.ir.spec import (
    AttachPoint,
    IterAttach,
    KprobeAttach,
    KprobeMultiAttach,
    ObjectProgram,
    ObjectSpec,
    PerfAttach,
    RawTracepointAttach,
    SpecialAttach,
    TracepointAttach,
    TrampolineAttach,
    UprobeAttach,
)
from trapline.kernel.object import load_object

ME = os.getpid()


def nap() -> None:
    time.sleep(0.001)


def uid() -> None:
    os.getuid()


def spin() -> None:
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        pass


def _libc() -> str:
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1].strip()
        if "libc.so.6" in path or "/libc-" in path:
            return path
    raise AssertionError("this Python has no libc")


def ppid() -> None:
    os.getppid()


LIBC = _libc()


@dataclass(frozen=True)
class Kind:
    """A row of the contract: how to attach, and what makes it fire in this process."""

    attach: object
    label: str
    fire: Callable[[], None]
    type: str = "KPROBE"
    expected: str = ""
    cookie: bool = True
    mine: bool = True  # fires in the process that causes it

    def point(self, cookie: int = 0) -> AttachPoint:
        """Return the attach point."""
        return AttachPoint(self.attach, self.label, cookie=cookie)  # type: ignore[arg-type]


def _needs(kind: Kind, *features: str):  # type: ignore[no-untyped-def]
    return pytest.param(kind, id=kind.label, marks=[pytest.mark.needs(*features)] if features else [])


KINDS = [
    _needs(Kind(KprobeAttach("do_nanosleep"), "kprobe:do_nanosleep", nap), "kprobes"),
    _needs(Kind(KprobeAttach("do_nanosleep", retprobe=True), "kretprobe:do_nanosleep", nap), "kprobes"),
    _needs(
        Kind(KprobeMultiAttach(("do_nanosleep", "hrtimer_nanosleep")), "kprobe:*nanosleep", nap, cookie=False),
        "kprobes",
    ),
    _needs(
        Kind(
            TracepointAttach("syscalls", "sys_enter_getuid"), "tracepoint:syscalls:sys_enter_getuid", uid, "TRACEPOINT"
        ),
        "tracefs",
    ),
    _needs(Kind(RawTracepointAttach("sys_enter"), "rawtracepoint:sys_enter", uid, "RAW_TRACEPOINT", cookie=False)),
    _needs(
        Kind(
            RawTracepointAttach("sys_enter", btf=True), "tp_btf:sys_enter", uid, "TRACING", "TRACE_RAW_TP", cookie=False
        ),
        "btf",
    ),
    _needs(
        Kind(
            PerfAttach(PERF_TYPE_SOFTWARE, 0, period=1_000_000),
            "software:cpu-clock:1000000",
            spin,
            "PERF_EVENT",
            mine=False,
        )
    ),
    _needs(Kind(PerfAttach(PERF_TYPE_SOFTWARE, 0, frequency=99), "profile:hz:99", spin, "PERF_EVENT", mine=False)),
    _needs(
        Kind(
            PerfAttach(PERF_TYPE_SOFTWARE, 0, period=10_000_000, cpu=-2),
            "interval:ms:10",
            spin,
            "PERF_EVENT",
            mine=False,
        )
    ),
    _needs(Kind(UprobeAttach(LIBC, "getppid"), "uprobe:libc:getppid", ppid), "uprobes"),
    _needs(Kind(UprobeAttach(LIBC, "getppid", retprobe=True), "uretprobe:libc:getppid", ppid), "uprobes"),
    _needs(
        Kind(TrampolineAttach("fentry", "hrtimer_nanosleep"), "fentry:hrtimer_nanosleep", nap, "TRACING", cookie=False),
        "fentry",
    ),
    _needs(
        Kind(TrampolineAttach("fexit", "hrtimer_nanosleep"), "fexit:hrtimer_nanosleep", nap, "TRACING", cookie=False),
        "fentry",
    ),
]


def _program(kind: Kind, *, cookie: int = 0) -> ObjectProgram:
    return program(5, kind.point(cookie), type=kind.type, cookie=bool(cookie), expected_attach=kind.expected)


@pytest.mark.parametrize("kind", KINDS)
def test_it_fires_while_attached_and_not_afterwards(kind: Kind) -> None:
    with load_object(tiny_object(_program(kind)), target()) as loaded, loaded.maps[".ring"].open_ring() as ring:
        kind.fire()
        assert not ring.pending()
        (link,) = loaded.attach_all()
        assert link.label == kind.label and not link.closed and link.count >= 1
        kind.fire()
        found = [struct.unpack("<QQQ", raw) for raw in ring.records()]
        assert found and all(tag == 5 for tag, _, _ in found)
        if kind.mine:
            assert any(pid_tgid >> 32 == ME for _, pid_tgid, _ in found)
        loaded.detach()
        assert link.closed
        ring.take()
        kind.fire()
        assert not ring.pending()


@pytest.mark.parametrize("kind", [row for row in KINDS if row.values[0].cookie])
def test_the_cookie_reaches_the_program(kind: Kind) -> None:
    with attached(_program(kind, cookie=0x1234567890)) as running:
        kind.fire()
        assert {extra for _, _, extra in running.records()} == {0x1234567890}


@pytest.mark.parametrize("kind", [row for row in KINDS if row.values[0].type in ("KPROBE", "TRACEPOINT")])
def test_the_kernel_samples_nothing_beside_the_program(kind: Kind) -> None:
    (cpu, *_), before = target().online_cpus, os.sched_getaffinity(0)
    probe = program(5, kind.point(), type=kind.type, result=1)  # pass the hit on to perf, as front ends do
    with attached(probe) as running:
        os.sched_setaffinity(0, {cpu})  # where its perf event is
        try:
            kind.fire()
        finally:
            os.sched_setaffinity(0, before)
        assert running.records(ME)
        counts = [os.read(fd, 8) for link in running.loaded.links for fd in link.perf_fds]
        assert all(count == bytes(8) for count in counts)


@pytest.mark.parametrize("kind", [row for row in KINDS if row.values[0].mine])  # separate events have no order
def test_programs_on_one_place_run_in_source_order(kind: Kind) -> None:
    specs = [program(tag, kind.point(), type=kind.type, expected_attach=kind.expected) for tag in range(4)]
    with attached(*specs) as running:
        assert [link.program.name for link in running.loaded.links] == ["p0", "p1", "p2", "p3"]
        running.records()  # of the system calls that attached
        kind.fire()
        tags = [tag for tag, _, _ in running.records(ME)]
        assert tags[:4] == [0, 1, 2, 3]  # a wildcard's second function fires later


# ---------------------------------------------------------------- kprobes

pytestmark = pytest.mark.limit(120)


def _kprobe(**fields: object) -> AttachPoint:
    return AttachPoint(KprobeAttach(**fields), f"kprobe:{fields.get('symbol', '')}")  # type: ignore[arg-type]


@pytest.mark.needs("kprobes")
def test_addresses_and_offset_0_are_the_function() -> None:
    address = target().symbol_address("do_nanosleep")
    assert address
    points = (_kprobe(address=address), _kprobe(symbol="do_nanosleep", module="vmlinux"))
    with attached(program(1, points[0]), program(2, points[1])) as running:
        nap()
        assert {tag for tag, _, _ in running.records(ME)} == {1, 2}


@pytest.mark.needs("kprobes")
def test_an_offset_gives_its_own_address() -> None:
    # The kernel places a kprobe on any instruction; the first that it accepts after the entry will do.
    address = target().symbol_address("do_nanosleep")
    assert address
    for offset in range(4, 16):
        point = _kprobe(symbol="do_nanosleep", offset=offset)
        try:
            with attached(program(1, point, register=X86_64.registers["ip"])) as running:
                nap()
                found = {extra for _, _, extra in running.records(ME)}
        except AttachError:
            continue
        # The trap leaves ip behind or at the instruction, as the architecture does.
        assert found and all(0 <= extra - (address + offset) <= 1 for extra in found)
        return
    raise AssertionError("no offset was accepted")


@pytest.mark.needs("kprobes")
def test_a_function_of_a_module_is_told_from_others() -> None:
    find = target().probes.match_functions
    rows = find("*_getattr*", "9p*") or find("ext4_getattr", "ext4")
    if not rows:
        pytest.skip("lacks a module that this test knows")
    module, name = next(row for row in rows if "." not in row[1])
    point = AttachPoint(KprobeAttach(name, module=module), f"kprobe:{module}:{name}")
    with attached(program(1, point)) as running:
        assert running.loaded.links[0].count == 1
    multi = AttachPoint(KprobeMultiAttach((name,), module=module), f"kprobe:{module}:{name}*")
    with attached(program(1, multi)) as running:
        assert running.loaded.links[0].count == 1 and not running.warnings


@pytest.mark.needs("kprobes")
def test_cookies_belong_to_their_functions() -> None:
    multi = KprobeMultiAttach(("hrtimer_nanosleep", "do_nanosleep"), cookies=(11, 22))
    with attached(program(1, AttachPoint(multi, "kprobe:*nanosleep"), cookie=True)) as running:
        nap()
        assert [extra for _, _, extra in running.records(ME)] == [11, 22]


@pytest.mark.needs("kprobes")
def test_a_wildcard_leaves_out_what_cannot_be_probed() -> None:
    blacklisted = next(e.name for e in target().probes.blacklist or () if target().symbols.find(e.name))
    names = ("do_nanosleep", "no_such_function", blacklisted, "hrtimer_nanosleep")
    multi = KprobeMultiAttach(names, cookies=(1, 2, 3, 4))
    with attached(program(1, AttachPoint(multi, "kprobe:mixed"), cookie=True)) as running:
        nap()
        assert [extra for _, _, extra in running.records(ME)] == [4, 1]
        (link,) = running.loaded.links
        assert {s.symbol for s in link.skipped} == {"no_such_function", blacklisted} and link.count == 2
        assert any("blacklist" in text for text in running.warnings)
    nothing = KprobeMultiAttach(("no_such_function", "no_such_thing"))
    with pytest.raises(AttachError, match="any of the 2 functions"), attached(program(1, AttachPoint(nothing, "k"))):
        pass


@pytest.mark.needs("kprobe_session")
def test_a_session_runs_at_entry_and_return() -> None:
    multi = KprobeMultiAttach(("do_nanosleep",), session=True)
    with attached(program(1, AttachPoint(multi, "kprobe:do_nanosleep"))) as running:
        nap()
        assert len(running.records(ME)) == 2


@pytest.mark.needs("kprobes")
def test_the_return_value_is_in_its_register() -> None:
    point = AttachPoint(KprobeAttach("do_nanosleep", retprobe=True), "kretprobe:do_nanosleep")
    arch = target().arch
    with attached(program(1, point, register=arch.registers[arch.ret])) as running:
        nap()
        assert {extra for _, _, extra in running.records(ME)} == {0}


# ---------------------------------------------------------------- tracepoints, perf events


@pytest.mark.needs("tracefs")
def test_a_missing_tracepoint_names_similar_ones() -> None:
    point = AttachPoint(TracepointAttach("sched", "sched_swich"), "tracepoint:sched:sched_swich")
    spec = program(1, point, type="TRACEPOINT")
    with pytest.raises(NoSuchProbeError, match="sched_swich does not exist") as caught, attached(spec):
        pass
    assert "sched:sched_switch" in caught.value.near


def test_a_missing_raw_tracepoint() -> None:
    point = AttachPoint(RawTracepointAttach("no_such_tracepoint"), "rawtracepoint:x")
    with pytest.raises(NoSuchProbeError), attached(program(1, point, type="RAW_TRACEPOINT")):
        pass


@pytest.mark.parametrize("pid", [-1, ME])
def test_an_event_on_every_cpu_or_on_a_process(pid: int) -> None:
    point = AttachPoint(PerfAttach(PERF_TYPE_SOFTWARE, 0, period=1_000_000, pid=pid), "profile")
    with attached(program(1, point, type="PERF_EVENT")) as running:
        (link,) = running.loaded.links
        assert link.count == 1  # one probe, as bpftrace counts, however many events it takes
        spin()
        found = running.records()
        assert found and (pid < 0 or {p for _, p, _ in found} == {ME})


def test_counters_that_the_machine_lacks() -> None:
    point = AttachPoint(PerfAttach(PERF_TYPE_HARDWARE, 9, period=1_000_000), "hardware:ref-cycles")
    try:
        with attached(program(1, point, type="PERF_EVENT")):
            pass
    except FeatureMissingError as error:
        assert "counter" in error.message and "virtual" in (error.hint or "")


def test_a_process_that_is_gone() -> None:
    child = subprocess.Popen(["true"])
    child.wait(10)
    point = AttachPoint(PerfAttach(PERF_TYPE_SOFTWARE, 0, period=1_000_000, pid=child.pid), "profile")
    with pytest.raises(AttachError, match=f"no process {child.pid}"), attached(program(1, point, type="PERF_EVENT")):
        pass


def test_special_points_are_run_not_attached() -> None:
    points = [AttachPoint(SpecialAttach(when), when) for when in ("begin", "end")]
    specs = [program(i, point, type="RAW_TRACEPOINT") for i, point in enumerate(points)]
    with attached(*specs) as running:
        assert running.loaded.links == []
        assert running.loaded.run_special("end") == 1 and running.loaded.run_special("signal") == 0
        assert running.records() == [(1, ME, 0)]
        with pytest.raises(ValueError, match="session"):
            running.loaded.attach("p0", points[0])


# ---------------------------------------------------------------- uprobes


@pytest.mark.needs("uprobes")
@pytest.mark.parametrize("retprobe", [False, True])
@pytest.mark.parametrize("pid", [-1, ME])
def test_user_functions(retprobe: bool, pid: int) -> None:
    point = AttachPoint(UprobeAttach(LIBC, "getppid", retprobe=retprobe, pid=pid), "uprobe:libc:getppid", cookie=77)
    with attached(program(3, point, cookie=True)) as running:
        os.getppid()
        assert running.records(ME) == [(3, ME, 77)]
    os.getppid()


@pytest.mark.needs("uprobes")
@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"path": "/no/such/file", "symbol": "f"}, NoSuchProbeError, "no file /no/such/file"),
        ({"path": "/no/such/file", "offset": 8}, NoSuchProbeError, "no file /no/such/file"),
        ({"path": "LIBC", "symbol": "getpppid"}, NoSuchProbeError, "no symbol getpppid"),
        ({"path": "LIBC", "symbol": "getppid", "offset": 100_000}, AttachError, "has only"),
        ({"path": "/etc/passwd", "symbol": "f"}, AttachError, "not an executable"),
        ({"path": "LIBC", "offset": 1 << 40}, AttachError, "cannot be probed"),
    ],
)
def test_user_functions_that_are_not_there(fields: dict[str, object], error: type[Exception], words: str) -> None:
    spec = UprobeAttach(**{k: LIBC if v == "LIBC" else v for k, v in fields.items()})  # type: ignore[arg-type]
    with pytest.raises(error, match=words) as caught, attached(program(1, AttachPoint(spec, "uprobe:x"))):
        pass
    if isinstance(caught.value, NoSuchProbeError) and "symbol" in words:
        assert "getppid" in caught.value.near


# ---------------------------------------------------------------- iterators, optional points


@pytest.mark.needs("btf")
def test_an_iterator_gives_its_output() -> None:
    asm = Assembler()  # ctx: {struct bpf_iter_meta *meta; struct task_struct *task}; meta: {struct seq_file *seq; …}
    asm.load(8, R6, R1, 8).load(8, R7, R1, 0).jump("eq", R6, 0, "out").load(8, R1, R7, 0)
    asm.store_imm(8, R10, -8, 0x0A6B7361).mov_reg(R2, R10).alu("add", R2, -8).mov(3, 4)
    asm.call("seq_write").label("out").mov(R0, 0).exit()
    point = AttachPoint(IterAttach("task"), "iter:task")
    spec = ObjectSpec("t", "", (ObjectProgram("it", "TRACING", asm.assemble(), attach_points=(point,)),))
    with load_object(spec, target()) as loaded:
        (link,) = loaded.attach_all()
        with link.iterate() as run:
            text = b""
            while part := os.read(run.fileno(), 1 << 16):
                text += part
    assert len(text) % 4 == 0 and text == b"ask\n" * (len(text) // 4) and len(text) > 8


def test_an_optional_point_only_warns() -> None:
    good = AttachPoint(RawTracepointAttach("sys_enter"), "rawtracepoint:sys_enter")
    bad = AttachPoint(RawTracepointAttach("no_such_tracepoint"), "rawtracepoint:x", optional=True)
    with attached(program(1, good, bad, type="RAW_TRACEPOINT")) as running:
        assert len(running.loaded.links) == 1
        assert len(running.warnings) == 1 and "no_such_tracepoint" in running.warnings[0]


def test_types_that_the_kernel_lacks() -> None:
    for attach, expected in ((TrampolineAttach("fentry", "no_such_function_at_all"), ""), (IterAttach("nothing"), "")):
        point = AttachPoint(attach, "x")
        spec = program(1, point, type="TRACING", expected_attach=expected)
        with pytest.raises((NoSuchProbeError, VerifierError)), attached(spec):
            pass


@pytest.mark.needs("no_kprobes")
def test_a_kernel_without_kprobes_is_said_so() -> None:
    for attach in (KprobeAttach("do_nanosleep"), KprobeMultiAttach(("do_nanosleep", "vfs_read"))):
        point = AttachPoint(attach, "kprobe:do_nanosleep")
        with pytest.raises(FeatureMissingError, match="CONFIG_KPROBE") as caught, attached(program(1, point)):
            pass
        assert "tracepoint" in (caught.value.hint or "")
