"""Runs in the peer's Python: ``bcc_peer_script.py FD TOOL ARGUMENT…`` runs one of BCC's tools with BCC itself.

It writes a byte to the descriptor when the tool waits for the first time; the tool is run as ``python3 TOOL`` would.
"""

import os
import signal
import sys
import threading
import time
import types

from bcc import BPF

WAITS = ("perf_buffer_poll", "kprobe_poll", "ring_buffer_poll", "trace_fields", "trace_print", "trace_readline")


def main():
    """Run the tool; what ends it ends this process."""
    waiting = int(sys.argv[1])
    os.set_inheritable(waiting, False)
    noticed = []

    def notice(wait):
        def waits(*args, **named):
            if not noticed:
                noticed.append(True)
                os.write(waiting, b"x")
            return wait(*args, **named)

        return waits

    for name in WAITS:
        if hasattr(BPF, name):
            setattr(BPF, name, notice(getattr(BPF, name)))
    time.sleep = notice(time.sleep)
    threading.Event.wait = notice(threading.Event.wait)
    signal.pause = notice(signal.pause)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    del sys.argv[:2]
    path = sys.argv[0]
    with open(path) as file:
        text = file.read()
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)


main()
