"""Run a task: ``python3 -m tools.develop {setup,headers,demo,check,test}``."""

from __future__ import annotations

import argparse
import signal
import sys

from tools.develop import demo, environment, suite
from tools.develop.kernel_headers import install_headers
from tools.develop.run import StepError


def main() -> int:
    """Run the named task and return its exit code; a step that fails is one line, without a traceback."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.develop", description=__doc__)
    tasks = parser.add_subparsers(required=True, dest="task")
    tasks.add_parser("setup", help="install everything that make test needs")
    headers = tasks.add_parser("headers", help="put a kernel's headers beside the peers, for the comparison with BCC")
    headers.add_argument("--kernel", default="6.12", help="a guest's kernel (default: %(default)s)")
    show = tasks.add_parser("demo", help="run the examples on real kernel probes")
    show.add_argument("--guest", action="store_true", help="use a guest even where the machine has kprobes")
    show.add_argument("--kernel", default="6.1", help="the guest's kernel (default: %(default)s)")
    check = tasks.add_parser("check", help="lint, types and layers")
    check.add_argument("--no-setup", action="store_true", help="take the tools as they are (for hooks)")
    test = tasks.add_parser("test", help="every check and test, on the host and in a guest of every kernel")
    test.add_argument("--kernel", action="append", help="only these guests (default: 6.1, 6.12 and sid)")
    test.add_argument("--each", action="store_true", help="run each test on each kernel: they share none out")
    test.add_argument("--no-host", action="store_true", help="only the guests")
    test.add_argument("--no-guests", action="store_true", help="only the checks and the tests on the host")
    options = parser.parse_args()
    # A shell starts what runs in the background deaf to Ctrl-C; the examples and tests are ended with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if options.task == "setup":
            environment.set_up(environment.TEST)
            return 0
        if options.task == "headers":
            install_headers(options.kernel, environment.PEERS)
            return 0
        if options.task == "demo":
            return demo.run_demo(kernel=options.kernel, force_guest=options.guest)
        if options.task == "check":
            if not options.no_setup:
                environment.set_up(environment.CHECK)
            return 0 if suite.run_checks() == [] else 1
        kernels = [] if options.no_guests else options.kernel or list(suite.KERNELS)
        return suite.run_suite(kernels=kernels, host=not options.no_host, each=options.each)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
