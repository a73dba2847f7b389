"""Run the commands that a step consists of, and say which one failed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


class StepError(Exception):
    """A step failed; the message says what, why and what to do."""


def say(text: str) -> None:
    """Print a line about what happens, at once."""
    print(f"== {text}", flush=True)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with ``extra``, and with Python writing byte code.

    What the host compiles (pytest's rewritten modules too) the guests, 20 times slower, need not compile again.
    """
    env = {**os.environ, **(extra or {})}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def run_step(
    title: str,
    argv: Sequence[str | Path],
    *,
    hint: str = "",
    env: Mapping[str, str] | None = None,
    timeout_s: float = 1200.0,
) -> None:
    """Run a command with its output kept, and show the end of the output only when it fails.

    Raises:
        StepError: it failed or took longer than ``timeout_s``.
    """
    words = [str(word) for word in argv]
    begun = time.monotonic()
    print(f"== {title} ...", end="", flush=True)
    try:
        done = subprocess.run(
            words,
            cwd=REPO,
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        print(" failed", flush=True)
        raise StepError(f"{title}: there is no {words[0]}. {hint}".strip()) from error
    except subprocess.TimeoutExpired as error:
        print(" failed", flush=True)
        raise StepError(f"{title}: longer than {timeout_s:g} s: {shlex.join(words)}. {hint}".strip()) from error
    if done.returncode:
        print(" failed", flush=True)
        sys.stdout.write("\n".join(done.stdout.decode(errors="replace").splitlines()[-25:]) + "\n")
        sys.stdout.flush()
        raise StepError(f"{title}: exit code {done.returncode} of: {shlex.join(words)}. {hint}".strip())
    print(f" {time.monotonic() - begun:.0f} s", flush=True)
