"""The verifier's log: which instruction it stopped at, and what it meant in the user's terms."""

from __future__ import annotations

import errno
import os
import re
from bisect import bisect_right

from trapline.errors import KernelError, VerifierError
from trapline.ir.spec import ObjectProgram
from trapline.records import record

_INSTRUCTION = re.compile(r"^(\d+): \(([0-9a-f]{2})\) (.*)$")
_NOISE = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|from \d+ to \d+|\d+: R\d|\d+: \(|; |func#|"
    r"mark_precise|regs=|parent |last_idx|caller:|callee:|returning from callee|to caller at|"
    r"arg#\d+ reference type|Global function|Validating |max_states|propagating|old |cur |\d+: safe|frame\d*:|R\d+=|"
    r"safe$|\s*$)"
)

_ENOTSUPP = 524  # the kernel's own; no name in user space
_MOST_MAPS = 64  # MAX_USED_MAPS: of one program
_TAIL = 1 << 18  # characters of a log (16 MB of one that follows a loop) that are looked at


@record(frozen=True)
class Rejection:
    """What a verifier log says.

    Args:
        instruction: index of the instruction it stopped at, or ``None``.
        text: that instruction as the verifier prints it.
        reason: the verifier's own last words.
        message: the same in the user's terms.
        hint: what to do about it, or ``None``.
    """

    instruction: int | None
    text: str
    reason: str
    message: str
    hint: str | None = None


@record(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    message: str  # may refer to the pattern's groups: {1}, {name}
    hint: str | None = None
    place: str = ""  # name of the group that holds the instruction, when the message names it


def _rule(pattern: str, message: str, hint: str | None = None, place: str = "") -> _Rule:
    return _Rule(re.compile(pattern), message, hint, place)


_BOUND = "limit it first: compare it with a constant, or mask it with &"
_RULES: tuple[_Rule, ...] = (
    _rule(
        r"BPF program is too large\. Processed (\d+) insn",
        "the program is too complex: the kernel gave up after following {1} instructions",
        "use fewer or shorter loops, and fewer branches",
    ),
    _rule(
        r"The sequence of (\d+) jumps is too complex",
        "the program is too complex: it has too many branches ({1} pending)",
        "use fewer or shorter loops, and fewer branches",
    ),
    _rule(
        r"(?:back-edge from insn (?P<at>\d+) to (\d+)|infinite loop detected at insn (?P<loop>\d+))",
        "the kernel cannot prove that this loop ends",
        "give the loop a constant bound",
        "at",
    ),
    _rule(
        r"combined stack size of (\d+) calls is (\d+)\. Too large",
        "the program needs {2} bytes of stack over {1} nested calls; the kernel allows 512",
        "use fewer or shorter strings and local variables",
    ),
    _rule(
        r"invalid (?:read from|write to|indirect access to|access to) stack R\d+ off=(-?\d+) size=(\d+)",
        "access outside the program's 512 bytes of stack ({2} bytes at offset {1})",
        "use fewer or shorter strings and local variables",
    ),
    _rule(
        r"invalid (?:unbounded )?variable-offset .*stack",
        "the kernel cannot prove that this index into a local array stays within its bounds",
        _BOUND,
    ),
    _rule(
        r"invalid (?:indirect )?read from stack (?:R\d+ )?off (-?\d+)",
        "a local variable is read that was never written",
    ),
    _rule(
        r"R(\d+) invalid mem access '(?:map_value_or_null|[a-z_]*ptr_or_null_?[a-z_]*|mem_or_null|.*_or_null)'",
        "a pointer that may be null is dereferenced",
        "check it before use: if (p) { … }",
    ),
    _rule(
        r"R(\d+) invalid mem access '(?:scalar|inv|unknown)'",
        "memory is accessed through a plain number, which the kernel does not allow directly",
        "read it with a probe read (bpf_probe_read_kernel, bpf_probe_read_user)",
    ),
    _rule(
        r"R(\d+) invalid mem access '([^']*)'",
        "memory of kind '{2}' cannot be accessed this way",
    ),
    _rule(
        r"invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)",
        "access outside a map value: {3} bytes at offset {2} of a value of {1} bytes",
        _BOUND,
    ),
    _rule(
        r"invalid access to memory, mem_size=(\d+) off=(-?\d+) size=(\d+)",
        "access outside a record: {3} bytes at offset {2} of {1} bytes",
        _BOUND,
    ),
    _rule(
        r"R(\d+) (?:unbounded memory access|(?:min|max) value is (?:outside|negative)|"
        r"invalid zero-sized read|min value is negative)",
        "the kernel cannot prove that this index or length stays within its bounds",
        _BOUND,
    ),
    _rule(
        r"math between (\S+) pointer and register with unbounded min value",
        "the kernel cannot prove that this index stays within its bounds",
        _BOUND,
    ),
    _rule(r"value (-?\d+) makes (\S+) pointer be out of bounds", "an index is out of bounds", _BOUND),
    _rule(
        r"Unreleased reference id=(\d+) alloc_insn=(?P<at>\d+)",
        "something acquired here is not released on every path",
        "release it (or submit or discard the record) before every return",
        "at",
    ),
    # Since Linux commit 51e1bb9eeaf7 ("bpf: Add lockdown check for probe_write_user helper") (v5.14), a kernel that is
    # locked down offers this helper to no program at all.
    _rule(
        r"(?:program of this type cannot use helper|unknown func) bpf_probe_write_user#(\d+)",
        "this kernel lets no program of this kind write user memory (helper bpf_probe_write_user)",
        "a locked-down kernel forbids it, and /sys/kernel/security/lockdown says whether it is; boot without lockdown",
    ),
    _rule(
        r"program of this type cannot use helper bpf_(\w+)#(\d+)",
        "this kind of probe cannot use the kernel's helper bpf_{1}",
    ),
    _rule(
        r"unknown func bpf_(\w+)#(\d+)",
        "this kernel does not offer the helper bpf_{1} to this kind of probe",
    ),
    _rule(r"(?:invalid|unknown) func (?:unknown)?#?(\d+)", "this kernel has no helper number {1}"),
    _rule(
        r"cannot call GPL[- ]restricted function from non-GPL compatible program",
        "a helper that needs a GPL-compatible licence is used",
        "declare the licence GPL",
    ),
    _rule(r"calling kernel function (\S+) is not allowed", "the kernel function {1} may not be called from this probe"),
    _rule(r"kernel function (\S+) .*not (?:found|allowed)", "the kernel function {1} cannot be called here"),
    _rule(
        r"dereference of modified (ctx|\S+) ptr R(\d+) off=(-?\d+) disallowed",
        "the probe's context is accessed at a computed place",
        "read the argument or register into a variable directly",
    ),
    _rule(
        r"invalid bpf_context access off=(\d+) size=(\d+)",
        "{2} bytes at offset {1} of the probe's context cannot be accessed in this kind of probe",
    ),
    _rule(r"misaligned (\S+) access", "a {1} is accessed at a misaligned address"),
    _rule(r"R(\d+) !read_ok", "a value is used that was never set"),
    _rule(
        r"R(\d+) (?:type=(\S+) expected=(.+)|is of type (\S+) but (.+) is expected)",
        "an argument of a helper has the wrong kind: it is {2}, expected {3}",
    ),
    _rule(
        r"At program exit the register R0 has (.*)", "the program returns a value that this probe may not return ({1})"
    ),
    _rule(r"unreachable insn (?P<at>\d+)", "a part of the program can never run", None, "at"),
    _rule(r"tail_call.*|tail_calls? .*not allowed.*", "tail calls are not allowed here"),
    _rule(
        r"attach_btf_id (\d+) is (?:invalid|not a \w+)", "the kernel has no such function or tracepoint to attach to"
    ),
    _rule(r"kernel subsystem misconfigured|func .* type UNKNOWN", "the kernel lacks type information for this probe"),
    _rule(r"(\S+) (?:type )?doesn't have|cannot attach to .*|(.*) is not (?:sleepable|traceable)", "{0}"),
    _rule(
        r"func '(\S+)' doesn't have (\d+)-th argument",
        "the function {1} has no argument number {2}",
    ),
    _rule(r"number of .*insns? (\d+).*too (?:many|large)", "the program is too long ({1} instructions)"),
)


def parse_log(log: str) -> Rejection:
    """Find out from a verifier's log what was wrong and where; its end tells."""
    log = log[-_TAIL:]
    instruction: int | None = None
    text = ""
    reasons: list[str] = []
    for line in log.splitlines():
        match = _INSTRUCTION.match(line)
        if match:
            instruction, text = int(match[1]), match[3].split(" ; ")[0].rstrip()
            reasons.clear()
        elif not _NOISE.match(line):
            reasons.append(line.strip())
    for rule in _RULES:
        for reason in reversed(reasons):
            match = rule.pattern.search(reason)
            if match is None:
                continue
            places = [v for k, v in match.groupdict().items() if k in ("at", "loop") and v]
            if places:
                instruction = int(places[0])
            return Rejection(instruction, text, reason, _fill(rule.message, match), rule.hint)
    reason = reasons[-1] if reasons else ""
    return Rejection(instruction, text, reason, reason)


def _fill(template: str, match: re.Match[str]) -> str:
    groups = [match[0], *(g or "?" for g in match.groups())]
    return template.format(*groups, **{k: v or "?" for k, v in match.groupdict().items()})


def span_of_instruction(program: ObjectProgram, instruction: int | None) -> tuple[int, int] | None:
    """Return the (start, end) in the program's text that instruction `instruction` came from.

    Falls back to the whole probe when the code has no finer positions.
    """
    if instruction is not None and program.spans:
        index = bisect_right(program.spans, (instruction, 1 << 62, 1 << 62)) - 1
        if index >= 0:
            _, start, end = program.spans[index]
            return start, end
    return program.span


def explain_rejection(program: ObjectProgram, log: str, number: int) -> KernelError:
    """Return the error for a load that failed with errno `number` and this log."""
    label = program.label or program.name
    if not log.strip():
        return _explain_silent(label, len(program.instructions) // 8, program, number)
    found = parse_log(log)
    maps = len({reference.map for reference in program.map_refs})
    if number == errno.E2BIG and maps > _MOST_MAPS:  # Linux 6.1 says no more than E2BIG
        found = Rejection(
            None,
            "",
            "",
            f"it uses {maps} maps, trapline's own included, and a program can use {_MOST_MAPS}",
            "spread the maps over several probes: each probe's block is a program of its own",
        )
    reason = found.message or os.strerror(number)
    if found.reason and found.reason != reason:
        reason += f" (verifier: {found.reason})"
    return VerifierError(
        f"the kernel rejected {label}: {reason}",
        log=log,
        program=program.name,
        instruction=found.instruction,
        span=span_of_instruction(program, found.instruction),
        errno=number,
        hint=found.hint,
    )


def _explain_silent(label: str, count: int, program: ObjectProgram, number: int) -> KernelError:
    """Return the error for a failure before the verifier ran."""
    hint = None
    reason = os.strerror(number)
    if number == errno.E2BIG:
        reason = f"it has {count} instructions, more than this kernel takes"
    elif number == errno.EINVAL:
        hint = f"this kernel may not know programs of type {program.type}"
        if program.expected_attach:
            hint += f" with attach type {program.expected_attach}"
    elif number == errno.EPERM:
        hint = "a security module or kernel lockdown may forbid BPF programs"
    elif number == _ENOTSUPP:
        reason = "the kernel cannot compile it (its JIT lacks something that it uses)"
    return KernelError(f"cannot load {label}: {reason}", errno=number, hint=hint)
