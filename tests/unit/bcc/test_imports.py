"""What a small script waits for: modules of Python that it does not need are not imported."""

from __future__ import annotations

import subprocess
import sys

# Each costs milliseconds; some are needed later, by what uses them.
_HEAVY = ("pathlib", "socket", "subprocess", "tempfile", "shutil", "traceback", "trapline.clang.c_api", "llvmlite")


def test_importing_bcc_leaves_heavy_modules_out() -> None:
    script = "import sys, trapline.bcc.runner, trapline.bcc; print(*sys.modules)"
    # -S: an editable installation's own finder imports some of them.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {script}"]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "trapline.bcc.bpf" in loaded
    assert [name for name in _HEAVY if name in loaded] == []
