"""The runner, each script in a process of its own: it replaces ``__main__`` and the exception hook."""

import subprocess
import sys

import pytest


def run(path, *arguments, python=(sys.executable, "-m", "trapline.bcc")):
    return subprocess.run([*python, str(path), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def script(tmp_path):
    def make(text):
        path = tmp_path / "script.py"
        path.write_text(text)
        return path

    return make


def test_arguments_and_main(script):
    path = script(
        "import sys, os\n"
        "print(sys.argv[1:], __name__, __file__ == sys.argv[0], sys.path[0] == os.path.dirname(sys.argv[0]))\n"
        "import __main__; print(__main__.__dict__ is globals())\n"
    )
    done = run(path, "-x", "y")
    assert done.stdout == "['-x', 'y'] __main__ True True\nTrue\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_modules_are_found_as_bcc(script):
    path = script(
        "import bcc, bcc.utils, trapline.bcc\n"
        "from bcc import BPF, PerfType, ArgString\n"
        "from bcc.utils import printb\n"
        "from bcc.table import HashTable\n"
        "from bcc.perf import Perf\n"
        "assert bcc is trapline.bcc and bcc.__name__ == 'trapline.bcc', bcc\n"
        "assert bcc.__spec__.name == 'trapline.bcc'\n"
        "assert bcc.utils.printb is printb\n"
        "printb(b'ok')\n"
    )
    done = run(path)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_unknown_module_names_those_that_exist(script):
    done = run(script("import bcc.nosuch\n"))
    assert done.returncode == 1
    assert "trapline has no module 'bcc.nosuch'" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [("import sys; sys.exit(3)", 3, ""), ("exit('why')", 1, "why\n"), ("raise SystemExit", 0, "")],
)
def test_exit_codes(script, text, code, error):
    done = run(script(text))
    assert (done.returncode, done.stderr) == (code, error)


@pytest.mark.parametrize(
    "text", ["def f():\n    1 / 0\nf()\n", "raise KeyboardInterrupt\n", "x = (\n", "import nothing_like_it\n"]
)
def test_errors_look_as_under_python(script, text):
    path = script(text)
    ours, pythons = run(path), run(path, python=(sys.executable,))
    assert ours.stderr == pythons.stderr
    assert ours.returncode == pythons.returncode


def test_own_errors_are_one_message(script):
    done = run(script("from bcc import BPF\nBPF(src_file='none.c')\n"))
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: Could not find file none.c\nHINT: ")
    assert "Traceback" not in done.stderr


def test_own_errors_can_be_caught(script):
    done = run(
        script("from bcc import BPF\ntry:\n    BPF(src_file='none.c')\nexcept Exception as e:\n    print('caught')\n")
    )
    assert (done.returncode, done.stdout) == (0, "caught\n")


def test_exit_handlers_run(script):
    done = run(script("import atexit\natexit.register(print, 'bye')\nraise ValueError\n"))
    assert (done.returncode, done.stdout) == (1, "bye\n")


def test_missing_script(tmp_path):
    done = run(tmp_path / "none.py")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: cannot run the script ")
    assert "Traceback" not in done.stderr


def test_usage():
    assert run("--help").stdout.startswith("usage: trapline bcc")
    assert run("--wrong").returncode == 1


def test_install_in_a_program_of_ones_own(script):
    path = script("import trapline.bcc\ntrapline.bcc.install()\nfrom bcc import BPF\nprint(BPF is trapline.bcc.BPF)\n")
    done = run(path, python=(sys.executable,))
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_nothing_called_bcc_without_it(script):
    done = run(script("import trapline.bcc\nimport bcc\n"), python=(sys.executable,))
    assert "No module named 'bcc'" in done.stderr


def test_an_interrupt_while_waiting_is_silent(script):
    path = script(
        "import os, signal, threading, time\n"
        "from trapline.bcc.trace import TracePipe\n"
        "read, write = os.pipe()\n"
        "def later():\n    time.sleep(0.2)\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=later).start()\n"
        "TracePipe(lambda: f'/proc/self/fd/{read}').print()\n"
    )
    done = run(path)
    assert (done.returncode, done.stdout, done.stderr) == (-2, "", "")


def test_a_shell_script_runs_python_scripts_with_trapline(script, tmp_path):
    script("#! /usr/bin/python3\nimport sys, bcc\nprint(bcc.__name__, sys.argv[1:])\n").chmod(0o755)
    shell = tmp_path / "wrapper"
    shell.write_text('#!/bin/bash\nlib=$(dirname $0)\n$lib/script.py -l java "$@"\npython3 -c "print(1)"\n')
    done = run(shell, "a b")
    assert (done.stdout, done.stderr) == ("trapline.bcc ['-l', 'java', 'a b']\n1\n", "")


def test_a_script_without_its_interpreter_is_one_message(tmp_path):
    shell = tmp_path / "wrapper"
    shell.write_text("#!/no/such/shell\n")
    done = run(shell)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: cannot run the script")
