"""Runs in the peer's Python: ``bcc_peer_script.py FD TOOL ARGUMENT…`` runs one of BCC's tools with BCC itself.

It writes a byte to the descriptor when the tool waits for the first time; the tool is run as ``python3 TOOL`` would.
"""

import os
import signal
import sys
import types

from bcc import BPF
from bcc_waits import tell_first_wait


def main():
    """Run the tool; what ends it ends this process."""
    waiting = int(sys.argv[1])
    os.set_inheritable(waiting, False)
    tell_first_wait(BPF, lambda: os.write(waiting, b"x"))
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
