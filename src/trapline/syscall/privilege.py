"""What this process may do, and what the machine forbids: capabilities, lockdown, sysctls."""

from __future__ import annotations

from trapline.records import record

KPROBE_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"

CAPABILITIES: dict[str, int] = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}


def effective_capabilities() -> int:
    """Return the effective capabilities of this process as a bit mask."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def has_capability(name: str) -> bool:
    """Return whether this process has a capability (CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON)."""
    mask = effective_capabilities()
    if mask >> CAPABILITIES[name] & 1:
        return True
    return name in ("CAP_BPF", "CAP_PERFMON") and bool(mask >> CAPABILITIES["CAP_SYS_ADMIN"] & 1)


def missing_capabilities(*names: str) -> list[str]:
    """Return those of `names` that this process lacks."""
    return [name for name in names if not has_capability(name)]


def lockdown_mode() -> str | None:
    """Return ``none``, ``integrity`` or ``confidentiality``; ``None`` when the kernel does not say."""
    try:
        with open("/sys/kernel/security/lockdown", encoding="utf-8") as file:
            return parse_lockdown(file.read())
    except OSError:
        return None


def parse_lockdown(text: str) -> str | None:
    """Parse ``none [integrity] confidentiality``: the word in brackets."""
    for word in text.split():
        if word.startswith("[") and word.endswith("]"):
            return word[1:-1]
    return None


def read_sysctl(name: str) -> int | None:
    """Return an integer sysctl such as ``kernel.perf_event_paranoid``, or ``None`` when there is no such one."""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


@record(frozen=True)
class BlacklistEntry:
    """A range of the kernel where no kprobe may be: addresses (0 when hidden) and the function's name."""

    start: int
    end: int
    name: str


def parse_kprobe_blacklist(text: str) -> list[BlacklistEntry]:
    """Parse ``kprobes/blacklist`` of debugfs: ``0x…-0x…\\tname`` a line."""
    entries = []
    for line in text.splitlines():
        addresses, _, name = line.partition("\t")
        start, _, end = addresses.partition("-")
        try:
            entries.append(BlacklistEntry(int(start, 16), int(end, 16), name.strip()))
        except ValueError:
            continue
    return entries


def read_kprobe_blacklist() -> list[BlacklistEntry] | None:
    """Return the kernel's kprobe blacklist, or ``None`` when debugfs is not mounted or the kernel has none."""
    try:
        with open(KPROBE_BLACKLIST, encoding="utf-8", errors="replace") as file:
            return parse_kprobe_blacklist(file.read())
    except OSError:
        return None


def read_blacklisted_names() -> frozenset[str]:
    """Return the names of the functions in the kernel's kprobe blacklist; none when it cannot be read."""
    try:
        with open(KPROBE_BLACKLIST, encoding="utf-8", errors="replace") as file:
            return frozenset([line.rpartition("\t")[2] for line in file.read().splitlines()])
    except OSError:
        return frozenset()


def kprobes_enabled() -> bool | None:
    """Return whether kprobes are armed (``kprobes/enabled`` of debugfs), ``None`` when unknown."""
    try:
        with open("/sys/kernel/debug/kprobes/enabled", encoding="utf-8") as file:
            return file.read().strip() != "0"
    except OSError:
        return None
