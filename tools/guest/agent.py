"""Run in the guest as its first process: serve commands that arrive on the virtio-serial ports.

Usage: agent.py HOLD IDLE. With HOLD 1 the guest powers off when the launcher closes the control port; after IDLE
seconds (0: never) without a command it powers off as well. Only the standard library is used, without ``site``.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tools.guest import channel

CONTROL = "guest.control"
COMMAND = "guest.command"
_POLL_S = 0.1
_IDLE_CHECK_S = 20.0
_DRAIN_S = 0.3
_CHUNK = 65536


def main() -> None:
    """Serve until the guest is to stop; never return."""
    hold, idle_s = sys.argv[1] == "1", int(sys.argv[2])
    ports = _open_ports()
    control = ports.pop(CONTROL)
    # The port driver raises SIGIO when a launcher connects, writes or leaves: wait for that, and for children, without
    # waking up in between (whoever traces the guest would see it).
    wakeups = {signal.SIGIO, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, wakeups)
    for fd in (control, *ports.values()):
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    _say_hello(control)
    busy: dict[int, int] = {}  # child pid → port fd
    last = time.monotonic()
    while True:
        _reap(busy)
        if busy:
            last = time.monotonic()
        idle = [fd for fd in ports.values() if fd not in busy.values()]
        poller = select.poll()
        for fd in idle:
            poller.register(fd, select.POLLIN)
        for fd, events in poller.poll(0):
            # A port whose launcher is away reads as end of file: POLLHUP beside POLLIN.
            if events & select.POLLIN and not events & select.POLLHUP:
                child = os.fork()
                if child == 0:
                    _serve_in_child(fd)
                busy[child] = fd
        if (hold and _is_closed(control)) or (idle_s and time.monotonic() - last > idle_s):
            _power_off()
        signal.sigtimedwait(wakeups, _IDLE_CHECK_S)


def _open_ports() -> "dict[str, int]":
    ports = {}
    root = "/sys/class/virtio-ports"
    for entry in sorted(os.listdir(root)):
        with open(f"{root}/{entry}/name") as file:
            name = file.read().strip()
        if name.startswith((CONTROL, COMMAND)):
            ports[name] = os.open(f"/dev/{entry}", os.O_RDWR | os.O_CLOEXEC)
    return ports


def _reap(busy: "dict[int, int]") -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        busy.pop(pid, None)


def _is_closed(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poller.poll(0))


def _power_off() -> None:
    with open("/proc/sysrq-trigger", "w") as trigger:
        trigger.write("o")
    time.sleep(60)
    os._exit(1)  # The first process ends: the kernel panics, and QEMU ends with it.


def _say_hello(fd: int) -> bytes:
    """Wait for a launcher's greeting, return it to the launcher, and return what came after it."""
    data = b""
    while True:
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            time.sleep(_POLL_S)
        data += chunk
        start = data.rfind(channel.HELLO)
        if start >= 0 and len(data) >= start + len(channel.HELLO) + channel.NONCE_SIZE:
            end = start + len(channel.HELLO) + channel.NONCE_SIZE
            _write_all(fd, data[start:end])
            return data[end:]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _serve_in_child(fd: int) -> None:
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGCHLD})
        _serve(fd)
        code = 0
    except OSError as error:
        print(f"guest agent: {error}", file=sys.stderr)
    finally:
        os._exit(code)


def _serve(port: int) -> None:
    """Serve one session: greeting, one command, its output, its exit."""
    signal.alarm(30)  # A launcher that connects and says nothing loses the port.
    data = _say_hello(port)
    decoder = channel.Decoder()
    frames = decoder.feed(data)
    while not frames:
        data = os.read(port, _CHUNK)
        if not data:
            return
        frames = decoder.feed(data)
    signal.alarm(0)
    kind, body = frames.pop(0)
    if kind != channel.EXEC:
        return
    request = json.loads(body)
    try:
        pid, stdin, stdout, stderr = _start(request)
    except OSError as error:
        _write_all(port, channel.encode_frame(channel.REFUSED, f"{request['argv'][0]}: {error.strerror}".encode()))
        return
    _relay(port, decoder, frames, pid, {stdout: channel.STDOUT, stderr: channel.STDERR}, stdin)


def _start(request: "dict[str, Any]") -> "tuple[int, int, int, int]":
    """Start the command in a session of its own; return its pid and our ends of its three pipes."""
    argv, cwd, env = request["argv"], request["cwd"], request["env"]
    stdin_read, stdin = os.pipe()
    stdout, stdout_write = os.pipe()
    stderr, stderr_write = os.pipe()
    error_read, error_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for source, target in ((stdin_read, 0), (stdout_write, 1), (stderr_write, 2)):
                os.dup2(source, target)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.chdir(cwd)
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            os.write(error_write, str(error.errno).encode())
        finally:
            os._exit(127)
    for fd in (stdin_read, stdout_write, stderr_write, error_write):
        os.close(fd)
    failure = os.read(error_read, 16)
    os.close(error_read)
    if failure:
        os.waitpid(pid, 0)
        number = int(failure)
        raise OSError(number, os.strerror(number))
    return pid, stdin, stdout, stderr


def _relay(
    port: int,
    decoder: "channel.Decoder",
    frames: "list[tuple[bytes, bytes]]",
    pid: int,
    outputs: "dict[int, bytes]",
    stdin: int,
) -> None:
    """Move bytes both ways until the command has ended and its pipes are drained, or the launcher is gone."""
    ended = os.pidfd_open(pid)
    os.set_blocking(stdin, False)
    waiting = bytearray()
    stdin_done, stdin_open = False, True
    status = None
    deadline = 0.0
    poller = select.poll()
    for fd in (port, ended, *outputs):
        poller.register(fd, select.POLLIN)
    while True:
        for kind, body in frames:
            if kind == channel.STDIN and stdin_open:
                waiting += body
                stdin_done = stdin_done or not body
            elif kind == channel.SIGNAL and status is None:
                os.killpg(pid, int(body))
        frames = []
        if stdin_open and (waiting or stdin_done):
            stdin_open = _feed(stdin, waiting, stdin_done)
        if status is not None and (not outputs or time.monotonic() > deadline):
            break
        # While stdin is full there is no event for it to wait for that would not spin: look again soon.
        timeout = 0.02 if status is not None or (waiting and stdin_open) else None
        for fd, events in poller.poll(None if timeout is None else timeout * 1000):
            if fd == port:
                if events & select.POLLHUP:
                    _kill(pid)
                    return
                frames = decoder.feed(os.read(port, _CHUNK))
            elif fd == ended:
                poller.unregister(ended)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                deadline = time.monotonic() + _DRAIN_S
            else:
                data = os.read(fd, _CHUNK)
                if data:
                    _write_all(port, channel.encode_frame(outputs[fd], data))
                    deadline = time.monotonic() + _DRAIN_S
                else:
                    poller.unregister(fd)
                    del outputs[fd]
    _kill(pid)  # What the command left behind in its session's group.
    _write_all(port, channel.encode_frame(channel.EXIT, json.dumps({"returncode": status}).encode()))


def _feed(stdin: int, waiting: bytearray, done: bool) -> bool:
    """Write what the command takes of its stdin; return whether its stdin is still open."""
    try:
        while waiting:
            del waiting[: os.write(stdin, waiting[:_CHUNK])]
    except BlockingIOError:
        return True
    except BrokenPipeError:
        waiting.clear()
        done = True
    if done:
        os.close(stdin)
    return not done


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
