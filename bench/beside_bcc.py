"""Beside BCC: scripts from exec to attached, their memory, and events through a callback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.bcc_peer import HEADERS, peer_environment, peer_python, prepare_bcc
from tests.harness.features import PEERS

from bench import rows
from bench.bench import Bench
from bench.measure import attach_and_end, compare, run
from bench.results import Comparison

_TCPLIFE = PEERS.parent / "bcc-tools-0.37/sbin/tcplife-bpfcc"
_EVENTS = Path(__file__).with_name("bcc_events.py")


def scripts(bench: Bench) -> Iterator[Comparison]:
    """Measure the wall time from exec to attached, and the peak memory; in a guest, whose headers BCC reads."""
    prepare_bcc()
    for script in rows.BCC_SCRIPTS:
        path = _TCPLIFE
        if script.text:
            path = bench.work / f"{script.name}.py"
            path.write_text(script.text)
        ours = [*bench.ours, "bcc", str(path)]
        # Unbuffered, so that the heading is seen when it is printed; BCC's environment says so, too.
        env = {cold: {**bench.environment(cold=cold), "PYTHONUNBUFFERED": "1"} for cold in (False, True)}
        measured = []
        for _ in range(1 + bench.pairs):  # the first is the warm-up
            cold, warm = (attach_and_end(ours, env=env[c], sign=script.sign) for c in (True, False))
            beside = {**peer_environment(), **bench.byte_code}
            peer = attach_and_end([*peer_python(), str(path)], env=beside, sign=script.sign)
            measured.append((cold, warm, peer))
        for number, state in ((0, "cold"), (1, "warm")):
            runs = [(run[number], run[2]) for run in measured[1:]]
            yield Comparison.of(
                f"BCC's {script.name}, exec to attached, {state}",
                "s",
                [(a.attached, b.attached) for a, b in runs],
                rows.BCC_WALL_GOAL,
                "BCC",
            )
            yield Comparison.of(
                f"BCC's {script.name}, peak resident memory, {state}",
                "MiB",
                [(a.peak_mib, b.peak_mib) for a, b in runs],
                rows.BCC_MEMORY_GOAL,
                "BCC",
            )


def events(bench: Bench) -> Iterator[Comparison]:
    """Measure what an event costs on its way to a Python callback; natively, since a program needs no kernel struct."""
    count = 20_000 if bench.quick else 1_000_000
    prefix = _with_headers()
    for name, arguments in rows.BCC_EVENTS:
        script = [str(_EVENTS), *arguments, str(count)]
        ours, peer = [*bench.ours, "bcc", *script], [*prefix, *peer_python(), *script]
        yield compare(
            f"BCC, an event through a callback: {name}",
            "ns",
            lambda ours=ours: _ns_per_event(ours, bench.warm, count),  # type: ignore[misc]
            lambda peer=peer: _ns_per_event(peer, peer_environment(), count),  # type: ignore[misc]
            pairs=bench.pairs,
            goal=rows.BCC_EVENTS_GOAL,
            beside="BCC",
        )


def _ns_per_event(command: list[str], env: dict[str, str], count: int) -> float:
    found = json.loads(run(command, env=env).stdout)
    if found["seen"] != count or found["lost"]:
        raise RuntimeError(f"of {count} events, {found['seen']} were delivered and {found['lost']} lost")
    return float(found["ns"])


def _with_headers() -> list[str]:
    """Return what a command needs in front to find headers for this kernel: another's do for a tracepoint.

    They are in ``/lib/modules`` for that command only, in a mount namespace of its own.

    Raises:
        RuntimeError: there are no headers of any kernel.
    """
    found = sorted(path for path in HEADERS.glob("6.12*") if (path / "build").exists())
    if not found:
        raise RuntimeError(f"no headers in {HEADERS}; run: python3 -m tools.develop headers --kernel 6.12")
    link = f"/lib/modules/{os.uname().release}"
    script = f'mount -t tmpfs none /lib/modules && ln -s {found[-1]} {link} && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh"]
