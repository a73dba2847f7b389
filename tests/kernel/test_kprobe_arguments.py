"""What a kernel probe knows of its function's arguments: by number, by name, and again when it returns."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.kernel.traced import ME, trace

import trapline

pytestmark = [pytest.mark.needs("kprobes", "btf"), pytest.mark.limit(60)]


def test_a_process_that_opens_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a file's näme"
    path.write_text("x")
    text = """
        kprobe:do_sys_openat2 /pid == $1/ {
            printf("%s %d %d %s", str(args.filename), args.dfd, args.how.flags, str(arg1))
        }
        kretprobe:do_sys_openat2 /pid == $1/ { printf("%s %d %d", str(args.filename), args.dfd, (int64)retval) }
    """

    def act() -> int:
        number = os.open(path, os.O_RDWR | os.O_APPEND)
        os.close(number)
        return number

    done = trace(text, act)
    entry, ret = done.texts
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    assert entry.startswith(f"{path} -100 ") and entry.endswith(f" {path}")
    # The kernel adds O_LARGEFILE.
    assert int(done.events[0][2]) & ~0o100000 == flags
    assert ret == f"{path} -100 {done.result}"


def test_a_process_that_creates_a_socket() -> None:
    text = """
        kprobe:__sys_socket /pid == $1/ { printf("%d %d %d", args.family, args.type, args.protocol) }
        kprobe:__sys_socket /pid == $1/ { printf("%d %d %d", arg0, arg1, arg2) }
        kretprobe:__sys_socket /pid == $1/ { printf("%d %d", args.family, retval) }
    """
    kinds = [
        (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
        (socket.AF_UNIX, socket.SOCK_STREAM, 0),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0),
    ]

    def act() -> list[list[int]]:
        rows = []
        for family, kind, protocol in kinds:
            with socket.socket(family, kind, protocol) as made:
                asked = (family, kind | socket.SOCK_CLOEXEC, protocol)
                rows += [list(asked), list(asked), [family, made.fileno()]]
        return rows

    done = trace(text, act)
    assert [list(event) for event in done.events] == done.result


def test_a_process_that_makes_a_system_call() -> None:
    # getpriority and getpgid are 140 and 121 on x86-64: include/uapi/asm/unistd_64.h.
    text = """
        kprobe:__x64_sys_getpriority /pid == $1/ {
            printf("%d %d %d", args.regs.orig_ax, args.regs.di, ((struct pt_regs *)arg0)->si)
        }
        kprobe:__x64_sys_getpgi* /pid == $1/ { printf("%s %d", func, ((struct pt_regs *)arg0).orig_ax) }
        tracepoint:raw_syscalls:sys_enter /pid == $1 && (args.id == 140 || args.id == 121)/ { @[args.id] = count() }
    """

    def act() -> None:
        os.getpgid(0)
        os.getpriority(os.PRIO_PROCESS, int(ME))

    done = trace(text, act)
    assert done.texts == ["__x64_sys_getpgid 121", f"140 0 {ME}"]
    assert done.maps["@"] == {121: 1, 140: 1}


def test_more_arguments_than_registers(tmp_path: Path) -> None:
    # do_mmap has 8 (6.1) or 9 (6.12) arguments; those behind the sixth are on the stack.
    path = tmp_path / "mapped"
    path.write_bytes(bytes(3 * mmap.PAGESIZE))
    text = """
        kprobe:do_mmap /pid == $1 && args.len == 0x2000 && args.file != 0/ {
            printf("%d %d %d %s", args.len, args.prot, args.pgoff, str(args.file.f_path.dentry.d_name.name));
            printf("%d %d", *args.populate, args.uf == 0 )
        }
        kretprobe:do_mmap /pid == $1 && args.len == 0x2000 && args.file != 0/ {
            printf("%d %d %d", args.pgoff, args.populate != 0, retval > 0x1000)
        }
    """

    def act() -> None:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0x2000, prot=mmap.PROT_READ, offset=mmap.PAGESIZE):
            pass

    first, second, third = trace(text, act).texts
    assert first == f"8192 {mmap.PROT_READ} 1 mapped"
    assert second.split()[1] == "0"
    assert third == "1 1 1"


def test_arguments_of_a_wildcard_are_those_that_all_its_functions_have() -> None:
    # __sys_connect and __sys_connect_file share their third argument only.
    def act() -> None:
        with socket.socket(socket.AF_UNIX) as made, contextlib.suppress(FileNotFoundError):
            made.connect("/no/such/socket")

    done = trace("kprobe:__sys_connect* /pid == $1/ { @[func, args.addrlen] = count() }", act)
    found = {(str(func), length): count for (func, length), count in done.maps["@"].items()}
    assert found["__sys_connect", 2 + len("/no/such/socket") + 1] == 1
    assert len({length for _, length in found}) == 1
    with pytest.raises(trapline.SemanticError, match="not the same in all functions"):
        trace("kprobe:__sys_connect* { @ = args.fd }")


def test_every_thread_gets_its_own_arguments_back(tmp_path: Path) -> None:
    # A return probe on many functions has two instances for each function and CPU: eight here, for all processes.
    threads, rounds = 3, 10
    text = """
        kprobe:do_sys_openat2 /pid == $1/ { printf("in %s", str(args.filename)) }
        kretprobe:do_sys_openat2 /pid == $1/ { printf("out %s", str(args.filename)) }
        kretprobe:do_sys_openat* /pid == $1/ { @[tid, str(args.filename)] = count() }
    """
    fifos = [str(tmp_path / f"fifo{i}") for i in range(threads)]
    for fifo in fifos:
        os.mkfifo(fifo)
    tids: dict[str, int] = {}

    finished = threading.Semaphore(0)

    def read(fifo: str) -> None:
        tids[fifo] = threading.get_native_id()
        for _ in range(rounds):
            # Opening a FIFO blocks until the other end is opened: all threads are inside at once.
            number = os.open(fifo, os.O_RDONLY)
            while os.read(number, 1):  # until the writer is gone: it must not let the next opening pass
                pass
            os.close(number)
            finished.release()

    def act() -> None:
        workers = [threading.Thread(target=read, args=(fifo,), daemon=True) for fifo in fifos]
        for worker in workers:
            worker.start()
        for _ in range(rounds):
            for fifo in fifos:
                number = os.open(fifo, os.O_WRONLY)
                os.write(number, b"x")
                os.close(number)
            for _ in fifos:
                assert finished.acquire(timeout=30)

    done = trace(text, act)
    inside: dict[int, str] = {}
    seen: Counter[str] = Counter()
    for event in done.events:
        direction, _, name = event.text.partition(" ")
        if direction == "in":
            inside[event.tid] = name
        else:
            assert inside[event.tid] == name
            seen[name] += 1
    assert not done.lost and not any(done.missed.values())
    assert all(seen[fifo] == 2 * rounds for fifo in fifos)
    assert all(done.maps["@"][tids[fifo], fifo] == rounds for fifo in fifos)


def test_a_function_inside_itself_gets_its_own_arguments_back() -> None:
    # Opening a file of an overlay opens the file below it: do_dentry_open calls itself.
    text = """
        kprobe:do_dentry_open /pid == $1/ { printf("in %p", args.f) }
        kretprobe:do_dentry_open /pid == $1/ { printf("out %p", args.f) }
    """

    def act() -> None:
        for path in ("/etc/hostname", "/etc/passwd", "/proc/self/status"):
            os.close(os.open(path, os.O_RDONLY))

    open_files: list[str] = []
    deepest = 0
    for line in trace(text, act).texts:
        direction, _, pointer = line.partition(" ")
        if direction == "in":
            open_files.append(pointer)
            deepest = max(deepest, len(open_files))
        else:
            assert open_files.pop() == pointer
    assert not open_files and deepest >= (2 if _is_overlay() else 1)


def _is_overlay() -> bool:
    return any(line.split()[1:3] == ["/", "overlay"] for line in Path("/proc/mounts").read_text().splitlines())


def test_a_call_that_began_before_the_probe_has_no_arguments() -> None:
    # The thread is inside the function when the probes come: there is nothing to be mixed up with.
    reader, writer = os.pipe()
    worker = threading.Thread(target=os.read, args=(reader, 1))
    worker.start()

    def act() -> None:
        os.write(writer, b"x")
        worker.join(60)

    text = 'kretprobe:vfs_read /pid == $1 && args.count == 1/ { printf("%d", args.count) }'
    try:
        assert trace(text, act).texts == []
    finally:
        os.close(reader)
        os.close(writer)


def test_an_argument_that_does_not_exist_is_named() -> None:
    with pytest.raises(trapline.SemanticError) as caught:
        trace("kprobe:do_sys_openat2 { print(args.filname) }")
    assert "filname" in str(caught.value) and "filename" in str(caught.value)
