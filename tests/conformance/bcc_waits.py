"""Notice when one of BCC's tools waits for the first time: it has attached then what it attaches.

For both Pythons, ours and the peer's, which has nothing but its own library: so this imports nothing else.
"""

import signal
import threading
import time

_WAITS = ("perf_buffer_poll", "kprobe_poll", "ring_buffer_poll", "trace_fields", "trace_print", "trace_readline")


def tell_first_wait(bpf, tell):  # type: ignore[no-untyped-def]
    """Let the first wait of this process call `tell`; `bpf` is the class ``BPF`` that the tool will use."""
    told = []

    def notice(wait):  # type: ignore[no-untyped-def]
        def waits(*args, **named):  # type: ignore[no-untyped-def]
            if not told:
                told.append(True)
                tell()
            return wait(*args, **named)

        return waits

    for name in _WAITS:
        if hasattr(bpf, name):
            setattr(bpf, name, notice(getattr(bpf, name)))
    time.sleep = notice(time.sleep)
    threading.Event.wait = notice(threading.Event.wait)
    signal.pause = notice(signal.pause)
