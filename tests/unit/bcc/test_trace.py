import pytest

from trapline.bcc.failures import BccError
from trapline.bcc.trace import NO_FIELDS, TracePipe, parse_trace_line

LINE = b"           sleep-4242    [001] d..31  1234.567890: bpf_trace_printk: executing program: sleep"


def test_fields():
    task, pid, cpu, flags, ts, msg = parse_trace_line(LINE)
    assert (task, pid, cpu, flags, msg) == (b"sleep", 4242, 1, b"d..31", b"executing program: sleep")
    assert ts == pytest.approx(1234.56789)


def test_task_names_with_spaces_and_dashes():
    line = b"    my - task: 1-77      [000] ....  1.0: 0x00000001: a: b"
    fields = parse_trace_line(line)
    assert fields.task == b"my - task: 1"
    assert fields.pid == 77
    assert fields.msg == b"a: b"


@pytest.mark.parametrize("line", [b"CPU:1 [LOST 12 EVENTS]", b"", b"# tracer: nop", b"x" * 40])
def test_other_lines(line):
    assert parse_trace_line(line) is None


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "trace_pipe"
    path.write_bytes(b"CPU:0 [LOST 1 EVENTS]\n" + LINE + b"\n")
    pipe = TracePipe(lambda: str(path))
    yield pipe
    pipe.close()


def test_pipe_fields_skip_lost_lines(pipe):
    assert pipe.fields(nonblocking=True).pid == 4242
    assert pipe.fields(nonblocking=True) == NO_FIELDS


def test_readline(pipe):
    assert pipe.readline() == b"CPU:0 [LOST 1 EVENTS]"
    assert pipe.readline() == LINE


class _Enough(Exception):
    pass


def test_print_shows_bytes_or_formats(pipe, capsys, monkeypatch):
    lines = [LINE, LINE]

    def readline(nonblocking=False):
        if not lines:
            raise _Enough
        return lines.pop()

    monkeypatch.setattr(pipe, "readline", readline)
    with pytest.raises(_Enough):
        pipe.print()
    assert capsys.readouterr().out == f"{LINE!r}\n" * 2
    lines[:] = [LINE]
    with pytest.raises(_Enough):
        pipe.print("{1} {5}")
    assert capsys.readouterr().out == "4242 b'executing program: sleep'\n"


def test_interrupt_reaches_the_script(pipe):
    class Interrupted:
        def readline(self, _):
            raise KeyboardInterrupt

        def close(self):
            pass

    pipe._file = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        pipe.readline()
    with pytest.raises(KeyboardInterrupt):
        pipe.print()


def test_no_pipe(tmp_path):
    with pytest.raises(BccError, match="cannot open"):
        TracePipe(lambda: str(tmp_path / "none")).open()
