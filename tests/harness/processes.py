"""Programs that run beside a test."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.limits import scaled


@contextmanager
def running(path: Path, *args: str) -> Iterator[int]:
    """Run a program until the block ends; yields its pid once its file is mapped.

    `subprocess.Popen` returns when exec closes the pipe to the parent, which is before the kernel maps the file.
    """
    process = subprocess.Popen([str(path), *args], stdout=subprocess.DEVNULL)
    try:
        maps = Path(f"/proc/{process.pid}/maps")
        end = time.monotonic() + scaled(15)
        while str(path.resolve()) not in maps.read_text():
            assert process.poll() is None, f"{path} ended with {process.returncode}"
            assert time.monotonic() < end, f"{path} did not start"
            time.sleep(0.001)
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
