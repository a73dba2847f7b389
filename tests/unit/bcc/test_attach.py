import pytest

from trapline.bcc.attach import KernelAttachments, ProbeQuota
from trapline.bcc.attach_user import UserAttachments
from trapline.bcc.failures import BccError, LoadError
from trapline.bcc.programs import Programs
from trapline.errors import FeatureMissingError, NoSuchProbeError, PrivilegeError, VerifierError
from trapline.frontends.bcc_c.result import AutoAttach, ProgramInfo


class FakeProgram:
    def __init__(self, fd):
        self.fd = fd
        self.closed = False

    def close(self):
        self.closed = True


class FakeSource:
    def __init__(self, error=None):
        self.error = error
        self.loads = []

    def load(self, name, type, expected_attach="", target="", *, log_level=0):
        if self.error:
            raise self.error
        self.loads.append((name, type, expected_attach, target))
        return FakeProgram(100 + len(self.loads))

    def bytecode(self, name):
        return b"\x95" + bytes(7)

    def disassemble(self, name):
        return "0: exit"


class FakeLink:
    def __init__(self, log, what):
        self.log, self.what = log, what
        log.append(("attach", what))

    def close(self):
        self.log.append(("detach", self.what))


class FakeAttacher:
    def __init__(self, missing=(), error=None):
        self.log, self.missing, self.error = [], missing, error

    def _link(self, *what):
        return FakeLink(self.log, what)

    def attach_kprobe(self, program, function, *, offset=0, retprobe=False):
        if self.error:
            raise self.error
        if function in self.missing:
            raise NoSuchProbeError(f"there is no function {function}", near=["f"], hint="did you mean f?")
        return self._link("kretprobe" if retprobe else "kprobe", function, offset)

    def attach_tracepoint(self, program, category, name):
        return self._link("tracepoint", category, name)

    def attach_raw_tracepoint(self, program, name):
        return self._link("raw", name)

    def attach_trampoline(self, program, kind, function, module=""):
        return self._link(kind, module, function)

    def run_iterator(self, program, target):
        return target.encode()

    def attach_perf_event(self, program, type, config, *, period=0, frequency=0, pid=-1, cpu=-1, attr=b"", group_fd=-1):
        return self._link("perf", type, config, period, frequency, pid, cpu)

    def attach_uprobe(self, program, path, offset, *, retprobe=False, pid=-1):
        return self._link("uprobe", path, offset, retprobe, pid)

    def file_functions(self, path):
        return [(0x10, 4, "start"), (0x20, 4, "stop"), (0x20, 4, "stop_alias")]

    def file_offset(self, path, address):
        return address - 0x1000


def make(infos, attacher=None, source=None, functions=()):
    programs = Programs(None, source or FakeSource(), {info.name: info for info in infos})
    attacher = attacher or FakeAttacher()
    kernel = KernelAttachments(
        attacher, programs, lambda pattern: list(functions), lambda pattern: [b"sched:a", b"sched:b"]
    )
    return kernel, attacher, programs


F = ProgramInfo("f", "KPROBE")
ITERATOR = AutoAttach("iter", "task", implicit=False)


@pytest.fixture(autouse=True)
def no_probes_open():
    before = ProbeQuota.open_probes
    yield
    ProbeQuota.open_probes = before


def test_autoload_attaches_by_name():
    infos = [
        ProgramInfo("kprobe__sys_read", "KPROBE", attach=AutoAttach("kprobe", "sys_read")),
        ProgramInfo("kretprobe__g", "KPROBE", attach=AutoAttach("kretprobe", "g")),
        ProgramInfo("tracepoint__sched__x", "TRACEPOINT", attach=AutoAttach("tracepoint", "sched:x")),
        ProgramInfo("raw_tracepoint__y", "RAW_TRACEPOINT", attach=AutoAttach("raw_tracepoint", "y")),
        ProgramInfo("kfunc__vmlinux__h", "TRACING", "TRACE_FENTRY", AutoAttach("kfunc", "h")),
        ProgramInfo("kmod_ret__k", "TRACING", "MODIFY_RETURN", AutoAttach("fmod_ret", "k", implicit=False)),
        F,
    ]
    kernel, attacher, programs = make(infos)
    kernel.autoload(lambda name: name.replace("sys_", "__x64_sys_"))
    assert [what for _, what in attacher.log] == [
        ("kprobe", "__x64_sys_read", 0),
        ("kretprobe", "g", 0),
        ("tracepoint", "sched", "x"),
        ("raw", "y"),
        ("fentry", "", "h"),
    ]
    assert programs._source.loads[-1] == ("kfunc__vmlinux__h", "TRACING", "TRACE_FENTRY", "h")
    kernel.close()
    assert sum(1 for verb, _ in attacher.log if verb == "detach") == 5


def test_events_are_counted_once_and_detached_by_name():
    kernel, attacher, _ = make([F, ProgramInfo("g", "KPROBE")])
    kernel.attach_kprobe("do_x.isra.0", "f")
    kernel.attach_kprobe(b"do_x.isra.0", b"f")
    kernel.attach_kprobe("do_x.isra.0", "g")
    assert list(kernel.kprobes.links) == [b"p_do_x_isra_0"]
    assert len(attacher.log) == 2
    kernel.detach_kprobe("do_x.isra.0", "g")
    assert len(kernel.kprobes) == 1
    kernel.detach_kprobe("do_x.isra.0")
    assert len(kernel.kprobes) == 0
    with pytest.raises(BccError, match="Kprobe b'p_do_x_isra_0' is not attached"):
        kernel.detach_kprobe("do_x.isra.0")


def test_a_missing_function_says_so_in_bccs_words_and_ours():
    kernel, _, _ = make([F], FakeAttacher(missing=["g"]))
    with pytest.raises(
        Exception, match="Failed to attach BPF program b'f' to kprobe b'g', it's not traceable"
    ) as caught:
        kernel.attach_kprobe("g", "f")
    assert "there is no function g" in str(caught.value)
    assert "did you mean f?" in str(caught.value)


def test_no_kprobes_at_all():
    kernel, _, _ = make([F], FakeAttacher(error=FeatureMissingError("no CONFIG_KPROBES", hint="boot another")))
    with pytest.raises(BccError) as caught:
        kernel.attach_kprobe("g", "f")
    assert str(caught.value) == (
        "Failed to attach BPF program b'f' to kprobe b'g': no CONFIG_KPROBES\nHINT: boot another"
    )


def test_a_pattern_fails_only_when_all_fail():
    kernel, attacher, _ = make([F], FakeAttacher(missing=["g"]), functions=[b"g", b"h"])
    kernel.attach_kprobe("", "f", event_re=".*")
    assert len(attacher.log) == 1
    kernel, _, _ = make([F], FakeAttacher(missing=["g"]), functions=[b"g"])
    with pytest.raises(BccError, match="to kprobe g, it's not traceable"):
        kernel.attach_kprobe("", "f", event_re="g")
    kernel, _, _ = make([F])
    with pytest.raises(BccError, match="no traceable function matches"):
        kernel.attach_kprobe("", "f", event_re="nothing")


def test_maxactive_is_ignored_loudly(capsys):
    kernel, _, _ = make([F])
    kernel.attach_kprobe("g", "f", retprobe=True, maxactive=5)
    assert "maxactive=5 of g is ignored" in capsys.readouterr().err


def test_quota(monkeypatch):
    monkeypatch.setenv("BCC_PROBE_LIMIT", str(ProbeQuota.open_probes + 1))
    kernel, _, _ = make([F])
    kernel.attach_kprobe("a", "f")
    with pytest.raises(BccError, match="Number of open probes would exceed global quota"):
        kernel.attach_kprobe("b", "f")
    kernel.close()
    kernel.attach_kprobe("b", "f")


def test_tracepoint_pattern():
    kernel, attacher, _ = make([F])
    kernel.attach_tracepoint("", "sched:.*", "f")
    assert [what for _, what in attacher.log] == [("tracepoint", "sched", "a"), ("tracepoint", "sched", "b")]


def test_functions_at_one_tracepoint_stay_attached_together():
    kernel, attacher, _ = make([F, ProgramInfo("g", "KPROBE")])
    for function in ("f", "g", "f"):
        kernel.attach_tracepoint("sched:a", "", function)
    assert [verb for verb, _ in attacher.log] == ["attach", "attach", "attach", "detach"]  # the first f
    kernel.detach_tracepoint("sched:a")
    assert [verb for verb, _ in attacher.log].count("detach") == 3


def test_perf_events():
    kernel, attacher, _ = make([F])
    kernel.attach_perf_event(1, 0, "f", sample_freq=99)
    kernel.detach_perf_event(1, 0)
    assert attacher.log == [("attach", ("perf", 1, 0, 0, 99, -1, -1)), ("detach", ("perf", 1, 0, 0, 99, -1, -1))]
    with pytest.raises(BccError, match="type 1 config 0 not attached"):
        kernel.detach_perf_event(1, 0)


def test_an_iterator_is_run():
    source = FakeSource()
    kernel, _, _ = make([F, ProgramInfo("bpf_iter__task", "TRACING", "TRACE_ITER", ITERATOR)], source=source)
    assert kernel.run_iterator("bpf_iter__task") == b"task"
    assert source.loads == [("bpf_iter__task", "TRACING", "TRACE_ITER", "task")]
    with pytest.raises(BccError, match="f is no iterator"):
        kernel.run_iterator("f")


def test_a_typed_function_is_loaded_for_what_its_name_says():
    info = ProgramInfo("kfunc__m__h", "TRACING", "TRACE_FENTRY", AutoAttach("kfunc", "h", "m"))
    source = FakeSource()
    programs = Programs(None, source, {info.name: info})
    programs.load("kfunc__m__h", "TRACING")
    assert source.loads == [("kfunc__m__h", "TRACING", "TRACE_FENTRY", "m:h")]


def test_uprobes(tmp_path):
    file = tmp_path / "prog"
    file.write_bytes(b"")
    attacher = FakeAttacher()
    _, _, programs = make([F])
    user = UserAttachments(attacher, programs, attacher)
    user.attach(str(file), "f", sym="start", sym_off=2)
    user.attach(str(file), "f", sym_re="stop.*", retprobe=True)
    user.attach(str(file), "f", addr=0x1030, pid=7)
    assert [what[2:] for _, what in attacher.log] == [(0x12, False, -1), (0x20, True, -1), (0x30, False, 7)]
    user.detach(str(file), sym="start", sym_off=2)
    with pytest.raises(BccError, match="could not determine address of symbol nothing"):
        user.attach(str(file), "f", sym="nothing")
    with pytest.raises(BccError, match="could not find library or program"):
        user.attach("nothing_like_it", "f", sym="start")


def test_a_function_is_loaded_once():
    source = FakeSource()
    _, _, programs = make([F], source=source)
    first = programs.load("f", 2)
    assert programs.load(b"f", 5) is first
    assert first.name == b"f"
    assert source.loads == [("f", "KPROBE", "", "")]
    with pytest.raises(BccError, match="99 is not a program type"):
        make([F])[2].load("f", 99)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PrivilegeError("needs CAP_BPF"), "Need super-user privileges to run: needs CAP_BPF"),
        (VerifierError("R1 is not a pointer", log="0: R1", program="f"), "Failed to load BPF program b'f': R1 is not"),
    ],
)
def test_load_errors(error, message):
    with pytest.raises(LoadError) as caught:
        make([F], source=FakeSource(error))[2].load("f", 2)
    assert str(caught.value).startswith(message)
