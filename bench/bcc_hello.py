"""``python -m bench.bcc_hello``: from exec to attached of a small BCC script, with trapline and with BCC itself.

Run it as root in a guest, since BCC needs the kernel's headers (``python3 -m tools.develop headers``):

    python3 -m tools.guest run --kernel 6.12 -- python -m bench.bcc_hello
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.conformance.bcc_peer import peer_environment, peer_python, prepare_bcc

from bench.measure import compare, run

_HELLO = r"""
from bcc import BPF

bpf = BPF(text='int kprobe__do_nanosleep(void *ctx) { bpf_trace_printk("Hello, World!\\n"); return 0; }')
import time
print(time.clock_gettime(time.CLOCK_MONOTONIC))
"""


def start_up(command: list[str], env: dict[str, str]) -> float:
    """Return the seconds from exec until the script's first line after ``BPF(…)``."""
    begun = time.clock_gettime(time.CLOCK_MONOTONIC)
    return float(run(command, env=env).stdout) - begun


def main() -> int:
    """Measure both in turn, with trapline's cache empty and full."""
    parser = argparse.ArgumentParser(prog="python -m bench.bcc_hello", description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="how often (default: %(default)s)")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    prepare_bcc()
    with tempfile.TemporaryDirectory(prefix="trapline-bench-") as directory:
        script = Path(directory, "hello.py")
        script.write_text(_HELLO)
        ours = [str(Path(sys.executable).parent / "trapline"), "bcc", str(script)]
        peer = [*peer_python(), str(script)]
        peer_env = peer_environment()
        for cold in (True, False):
            # "off" neither reads nor writes: as cold as a cache can be.
            cache = "off" if cold else f"{directory}/cache"
            # An installed package has its byte code; the guest cannot write it beside the sources.
            env = {"TRAPLINE_CACHE": cache, "PYTHONPYCACHEPREFIX": f"{directory}/byte-code"}
            measured = compare(
                f"BCC script, exec to attached, {'cold' if cold else 'warm'}",
                "s",
                lambda env=env: start_up(ours, env),  # type: ignore[misc]
                lambda: start_up(peer, peer_env),
                pairs=options.pairs,
            )
            print(measured.line().replace("bpftrace", "BCC     "), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
