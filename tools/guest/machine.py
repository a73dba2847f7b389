"""A running guest: start it, run commands in it, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.guest import channel
from tools.guest.agent import COMMAND, CONTROL
from tools.guest.errors import GuestError, GuestTimeoutError
from tools.guest.initramfs import Layout, write_initramfs
from tools.guest.kernels import extract_vmlinux, find_kernel

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "build" / "guest"
BOOT_TIMEOUT_S = 240.0
_COMMAND_PORTS = 6
_GREETING_TIMEOUT_S = 20.0

Sink = Callable[[bytes], object]

# Faster boots under emulation, and a guest that dies loudly instead of limping on.
_COMMAND_LINE = (
    "console=ttyS0 loglevel=4 panic=-1 oops=panic rdinit=/init random.trust_cpu=on mitigations=off "
    "cryptomgr.notests nowatchdog audit=0 apparmor=0 no_timer_check rcupdate.rcu_expedited=1"
)


@dataclass(frozen=True)
class GuestSpec:
    """What to boot.

    Attributes:
        kernel: a series (``6.1``) or a release (see :func:`tools.guest.kernels.find_kernel`).
        cpus: virtual CPUs.
        memory_mb: memory in MiB.
        nodes: NUMA nodes, each with its part of the memory and of the CPUs.
        append: more words for the kernel command line, such as ``lockdown=integrity``.
        results: the folder that the guest may write; the same path in the guest.
        idle_s: the guest powers off after so many seconds without a command; 0 means never.
        hold: the guest powers off when the process that started it ends; it sees the repository as it was at the boot
            (cached, which is several times faster), other guests see it live.
    """

    kernel: str
    cpus: int = 2
    memory_mb: int = 3072
    nodes: int = 1
    append: str = ""
    results: str = str(RESULTS)
    idle_s: int = 0
    hold: bool = True


class Guest:
    """A booted guest that runs commands as root.

    The guest sees the host's files at their own paths. The root is cached and its changes are thrown away; in a guest
    that stays, the repository is live and read-only; ``spec.results`` is live and writable; ``/tmp`` and ``/run`` are
    fresh.
    """

    def __init__(self, spec: GuestSpec, state: Path, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        """Do not call: use :meth:`start` or :meth:`find`."""
        self.spec = spec
        self._state = state
        self._pid = pid
        self._process = process
        self._control: socket.socket | None = None

    @classmethod
    def start(cls, spec: GuestSpec, state: Path, boot_timeout_s: float = BOOT_TIMEOUT_S) -> Guest:
        """Boot a guest and wait until it takes commands.

        Args:
            spec: what to boot.
            state: an empty or missing private folder for sockets and the console log.
            boot_timeout_s: the bound, in seconds.

        Raises:
            GuestError: QEMU or the kernel is missing, or the guest did not come up (the console's end is in the
                message).
        """
        qemu = shutil.which("qemu-system-x86_64")
        if qemu is None:
            raise GuestError("no qemu-system-x86_64 here; install it with: apt-get install qemu-system-x86")
        kernel = find_kernel(spec.kernel)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in state.iterdir():
            stale.unlink()
        Path(spec.results).mkdir(parents=True, exist_ok=True)
        layout = Layout(
            repo=REPO,
            live=not spec.hold,
            results=Path(spec.results),
            venv=REPO / ".venv",
            python=_system_python(),
            hold=spec.hold,
            idle_s=spec.idle_s,
        )
        write_initramfs(kernel, layout, state / "initrd")
        image = extract_vmlinux(kernel, _cache_folder())
        command = _qemu_command(qemu, spec, image, state)
        with (state / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        guest = cls(spec, state, process.pid, process)
        try:
            guest._wait_for_boot(boot_timeout_s)
        except BaseException:
            guest.stop()
            raise
        (state / "guest.json").write_text(json.dumps({"pid": process.pid, "spec": asdict(spec)}))
        if not spec.hold:
            guest._close_control()
        return guest

    @classmethod
    def find(cls, state: Path) -> Guest | None:
        """Return the guest that was started with this state folder, or ``None`` when none runs."""
        try:
            saved = json.loads((state / "guest.json").read_text())
            running = Path(f"/proc/{saved['pid']}/cmdline").read_bytes()
        except FileNotFoundError:
            return None
        if str(state).encode() not in running:
            return None
        return cls(GuestSpec(**saved["spec"]), state, saved["pid"], None)

    def __enter__(self) -> Guest:
        """Return the guest itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the guest."""
        self.stop()

    @property
    def console(self) -> str:
        """What the guest's kernel wrote to its console."""
        try:
            return (self._state / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        """End the guest at once. Nothing in it needs a clean shutdown: what it may keep is written through."""
        self._close_control()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        (self._state / "guest.json").unlink(missing_ok=True)
        (self._state / "initrd").unlink(missing_ok=True)

    def start_command(
        self, argv: Sequence[str], *, cwd: str | Path = REPO, env: Mapping[str, str] | None = None
    ) -> Command:
        """Start a command as root.

        Args:
            argv: the program, looked up in ``PATH``, and its arguments.
            cwd: where it starts.
            env: variables to add to the guest's small environment.

        Raises:
            GuestError: the guest is gone, or every command port is in use.
        """
        return Command(self._open_command_port(), self, argv, str(cwd), {**_guest_environment(), **(env or {})})

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | Path = REPO,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float = 600.0,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end and return its exit code and output.

        Raises:
            GuestTimeoutError: it took longer than ``timeout_s``; it has been killed.
        """
        out, err = bytearray(), bytearray()
        with self.start_command(argv, cwd=cwd, env=env) as command:
            command.write_stdin(stdin)
            command.write_stdin(b"")
            code = command.wait(out.extend, err.extend, timeout_s)
        return subprocess.CompletedProcess(list(argv), code, bytes(out), bytes(err))

    def describe_death(self) -> str:
        """Say what is known when the guest stopped answering: the end of its console and of QEMU's log."""
        lines = self.console.splitlines()[-30:]
        with contextlib.suppress(FileNotFoundError):
            lines += (self._state / "qemu.log").read_text(errors="replace").splitlines()[-5:]
        return "\n".join(f"    {line}" for line in lines)

    def is_running(self) -> bool:
        """Return whether QEMU still runs."""
        if self._process is not None:
            return self._process.poll() is None
        return Path(f"/proc/{self._pid}/cmdline").exists() and bool(Path(f"/proc/{self._pid}/cmdline").read_bytes())

    def _wait_for_boot(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self._control = socket.socket(socket.AF_UNIX)
        # QEMU makes the socket first and listens to it later.
        while self._control.connect_ex(str(self._state / CONTROL)):
            self._check_alive(deadline, "QEMU did not start")
            time.sleep(0.02)
        greeting = channel.HELLO + secrets.token_bytes(channel.NONCE_SIZE)
        self._control.sendall(greeting)
        self._control.settimeout(0.5)
        data = b""
        while greeting not in data:
            self._check_alive(deadline, "the guest did not come up")
            # A reset means that QEMU is ending: the next check says why.
            with contextlib.suppress(TimeoutError, socket.timeout, ConnectionResetError):
                data += self._control.recv(4096)

    def _check_alive(self, deadline: float, message: str) -> None:
        if not self.is_running():
            raise GuestError(f"{message}; QEMU ended. The end of its console:\n{self.describe_death()}")
        if time.monotonic() > deadline:
            raise GuestTimeoutError(f"{message} in time. The end of its console:\n{self.describe_death()}")

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def _open_command_port(self) -> socket.socket:
        """Return a greeted connection to a free port; a port is taken by locking its file."""
        for index in range(_COMMAND_PORTS):
            path = self._state / f"{COMMAND}{index}"
            port = _LockedSocket(path)
            if port.lock():
                greeting = channel.HELLO + secrets.token_bytes(channel.NONCE_SIZE)
                port.settimeout(_GREETING_TIMEOUT_S)
                data = b""
                try:
                    port.connect(str(path))
                    port.sendall(greeting)
                    while greeting not in data:
                        chunk = port.recv(65536)
                        if not chunk:
                            raise ConnectionResetError
                        data += chunk
                except OSError as error:
                    port.close()
                    raise GuestError(f"the guest does not answer ({error}):\n{self.describe_death()}") from error
                return port
            port.close()
        raise GuestError(f"all {_COMMAND_PORTS} command ports of the guest are in use; wait for a command to end")


class _LockedSocket(socket.socket):
    """A connection to a port that no other process uses at the same time."""

    def __init__(self, path: Path) -> None:
        super().__init__(socket.AF_UNIX)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self) -> bool:
        try:
            os.lockf(self._lock, os.F_TLOCK, 0)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def close(self) -> None:
        super().close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Command:
    """A command that runs in a guest. Closing it kills the command."""

    def __init__(
        self, port: socket.socket, guest: Guest, argv: Sequence[str], cwd: str, env: Mapping[str, str]
    ) -> None:
        """Do not call: use :meth:`Guest.start_command`."""
        self._port = port
        self._guest = guest
        self._decoder = channel.Decoder()
        self.argv = list(argv)
        self.returncode: int | None = None
        port.settimeout(None)
        self._send(channel.EXEC, json.dumps({"argv": list(argv), "cwd": cwd, "env": dict(env)}).encode())

    def __enter__(self) -> Command:
        """Return the command itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill the command when it still runs."""
        self.close()

    def close(self) -> None:
        """Let go of the port; a command that still runs is killed."""
        self._port.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable when :meth:`read` has something."""
        return self._port.fileno()

    def write_stdin(self, data: bytes) -> None:
        """Send bytes to the command's stdin; no bytes close it."""
        if not data:
            self._send(channel.STDIN)
        for start in range(0, len(data), 65536):
            self._send(channel.STDIN, data[start : start + 65536])

    def send_signal(self, number: int) -> None:
        """Send a signal to the command's process group."""
        self._send(channel.SIGNAL, str(number).encode())

    def read(self, timeout_s: float) -> list[tuple[bytes, bytes]] | None:
        """Return what arrived: pairs of ``channel.STDOUT`` or ``channel.STDERR`` and bytes.

        Returns ``None`` when the command has ended (``returncode`` is set), an empty list when nothing arrived in time.

        Raises:
            GuestError: the command cannot be started, or the guest died.
        """
        if self.returncode is not None:
            return None
        if not select.select([self._port], [], [], timeout_s)[0]:
            return []
        try:
            data = self._port.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise GuestError(f"the guest died while it ran {self.argv}:\n{self._guest.describe_death()}")
        output = []
        for kind, body in self._decoder.feed(data):
            if kind == channel.EXIT:
                self.returncode = json.loads(body)["returncode"]
            elif kind == channel.REFUSED:
                raise GuestError(body.decode())
            else:
                output.append((kind, body))
        if not output and self.returncode is not None:
            return None
        return output

    def wait(self, stdout: Sink, stderr: Sink, timeout_s: float) -> int:
        """Hand output on as it arrives and return the exit code (negative: the signal that ended it).

        Raises:
            GuestTimeoutError: it took longer than ``timeout_s``; it has been killed.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            pieces = self.read(max(0.0, min(1.0, deadline - time.monotonic())))
            if pieces is None:
                assert self.returncode is not None
                return self.returncode
            for kind, body in pieces:
                (stdout if kind == channel.STDOUT else stderr)(body)
            if time.monotonic() > deadline and self.returncode is None:
                self.close()
                raise GuestTimeoutError(f"{' '.join(self.argv)} took longer than {timeout_s:g} s in the guest")

    def _send(self, kind: bytes, body: bytes = b"") -> None:
        try:
            self._port.sendall(channel.encode_frame(kind, body))
        except OSError as error:
            raise GuestError(f"the guest is gone ({error}):\n{self._guest.describe_death()}") from error


def state_folder(name: str) -> Path:
    """Return the private folder where the state of a guest of this name lies."""
    if os.geteuid() == 0:
        return Path("/run/trapline-guest") / name
    return Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".cache") / "trapline-guest" / name


def _system_python() -> Path:
    """Return an interpreter outside virtual environments, which runs the agent."""
    system = Path("/usr/bin/python3")
    return system if system.exists() else Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trapline-guest"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _guest_environment() -> dict[str, str]:
    venvs = [str(Path(sys.prefix) / "bin")] if sys.prefix != sys.base_prefix else [str(REPO / ".venv" / "bin")]
    return {
        # Not /bin and /sbin too: they are links to these, and bpftrace calls a name that it finds twice ambiguous.
        "PATH": ":".join([*venvs, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]),
        "HOME": "/tmp/home",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TRAPLINE_GUEST": "1",
    }


def _cpus_of(node: int, spec: GuestSpec) -> list[str]:
    return [f"cpus={cpu}" for cpu in range(spec.cpus) if cpu % spec.nodes == node]


def _qemu_command(qemu: str, spec: GuestSpec, image: Path, state: Path) -> list[str]:
    # One thread for all virtual CPUs: when the kernel changes its own code, a CPU of QEMU 7 that runs in another thread
    # may still see the breakpoint that had been there ("Oops: int3"). 7.2 died of it at boot, 6.12 in one run of some.
    command = [qemu, "-accel", "tcg,thread=single,tb-size=512", "-cpu", "max,la57=off", "-smp", str(spec.cpus)]
    command += ["-m", str(spec.memory_mb), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-kernel", str(image), "-initrd", str(state / "initrd"), "-append", f"{_COMMAND_LINE} {spec.append}"]
    command += ["-serial", f"file:{state / 'console.log'}", "-device", "virtio-serial-pci,max_ports=16"]
    for node in range(spec.nodes if spec.nodes > 1 else 0):
        command += ["-object", f"memory-backend-ram,id=memory{node},size={spec.memory_mb // spec.nodes}M"]
        command += ["-numa", ",".join([f"node,nodeid={node},memdev=memory{node}", *_cpus_of(node, spec)])]
    for name in [CONTROL, *(f"{COMMAND}{index}" for index in range(_COMMAND_PORTS))]:
        command += ["-chardev", f"socket,id={name},path={state / name},server=on,wait=off"]
        command += ["-device", f"virtserialport,chardev={name},name={name}"]
    shares = (("root", Path("/"), True), ("repo", REPO, True), ("results", Path(spec.results), False))
    for tag, path, readonly in shares:
        mode = ",readonly=on" if readonly else ""
        command += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{mode}"]
        command += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    setpriv = shutil.which("setpriv")
    if spec.hold and setpriv:
        # The guest powers off by itself when its launcher ends; a guest that hangs cannot, so the kernel ends QEMU.
        command = [setpriv, "--pdeathsig", "KILL", *command]
    return command
