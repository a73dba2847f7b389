"""What the machine says about itself: kernel release and configuration, CPUs, modules, limits."""

from __future__ import annotations

import functools
import os
import stat

from trapline.errors import PrivilegeError, TargetError
from trapline.records import record

VMLINUX_BTF = "/sys/kernel/btf/vmlinux"
_BTF_ROOT = "/sys/kernel/btf"
_PMU_ROOT = "/sys/bus/event_source/devices"


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Parse the kernel's CPU lists: ``0-3,8`` is (0, 1, 2, 3, 8)."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            low, _, high = part.partition("-")
            cpus.extend(range(int(low), int(high or low) + 1))
    return tuple(cpus)


def _cpus(kind: str) -> tuple[int, ...]:
    try:
        with open(f"/sys/devices/system/cpu/{kind}", encoding="utf-8") as file:
            return parse_cpu_list(file.read())
    except OSError:
        return tuple(range(os.cpu_count() or 1))


def cgroup_id(path: str) -> int:
    """Return the id of the cgroup (v2) at a path: its inode number.

    Raises:
        TargetError: there is no such directory, or it is not one of a cgroup-v2 file system.
    """
    try:
        found = os.stat(path)
        # Since Linux 5.5 the id of a cgroup is its inode number; every cgroup-v2 directory has this file.
        with open(os.path.join(path, "cgroup.controllers"), "rb"):
            return found.st_ino
    except OSError as error:
        reason = error.strerror if not os.path.isdir(path) else "it is no cgroup (v2)"
        raise TargetError(f'Failed to get `cgroupid` for path: "{path}": {reason}') from None


def online_cpus() -> tuple[int, ...]:
    """Return the CPUs that run now."""
    return _cpus("online")


@functools.cache
def possible_cpus() -> tuple[int, ...]:
    """Return the CPUs that the kernel has room for; per-CPU map values have one part for each."""
    return _cpus("possible")


def page_size() -> int:
    """Return the bytes of a page."""
    return os.sysconf("SC_PAGE_SIZE")


def kernel_release() -> str:
    """Return the kernel's release (``uname -r``)."""
    return os.uname().release


def parse_version_code(release: str, version: str = "") -> int:
    """Return ``LINUX_VERSION_CODE`` from the texts of uname(2).

    Distributions put the true patch level elsewhere: Debian's in `version` (``Debian 6.1.76-1``).
    """
    text = release
    for word in version.replace("(", " ").split():
        if word[:1].isdigit() and word.count(".") >= 2 and "Debian" in version:
            text = word
    numbers = []
    for part in text.split(".")[:3]:
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major << 16 | minor << 8 | min(patch, 255)


def version_code() -> int:
    """Return ``LINUX_VERSION_CODE`` of the running kernel."""
    names = os.uname()
    return parse_version_code(names.release, names.version)


def boot_id() -> str:
    """Return the random id of this boot, or an empty string."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def kernel_notes() -> bytes:
    """Return the ELF notes of the running kernel, its build id among them; nothing where they are hidden."""
    try:
        with open("/sys/kernel/notes", "rb") as file:
            return file.read()
    except OSError:
        return b""


@functools.cache
def kernel_config() -> dict[str, str] | None:
    """Return the kernel's build configuration (``CONFIG_X`` → ``y``, ``m``, number …); ``None`` when not available."""
    release = kernel_release()
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        try:
            if path.endswith(".gz"):
                import gzip  # few kernels keep their configuration compressed in /proc, and fewer programs ask

                with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
                    return parse_kernel_config(file.read())
            with open(path, encoding="utf-8", errors="replace") as file:
                return parse_kernel_config(file.read())
        except OSError:
            continue
    return None


def parse_kernel_config(text: str) -> dict[str, str]:
    """Parse a kernel's ``.config``; options that are not set are absent."""
    options = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and name.startswith("CONFIG_"):
            options[name] = value.strip().strip('"')
    return options


@record(frozen=True)
class Module:
    """A loaded kernel module: its name, its size in bytes, where it is (0 when hidden), and a number for this loading.

    A module that was changed and loaded again is often as long as before and in the same place; `instance` differs.
    """

    name: str
    size: int
    address: int
    instance: int = 0


def _module_instance(name: str) -> int:
    # sysfs numbers its directories one after another, and never gives a number twice.
    try:
        return os.stat(f"/sys/module/{name}").st_ino
    except OSError:
        return 0


def module_instances() -> frozenset[tuple[str, int]]:
    """Return the name and `Module.instance` of all modules, built-in ones too: another set when one comes or goes."""
    try:
        with os.scandir("/sys/module") as modules:
            return frozenset((module.name, module.inode()) for module in modules)
    except OSError:
        return frozenset()


def loaded_modules() -> list[Module]:
    """Return the loaded kernel modules."""
    modules = []
    try:
        with open("/proc/modules", encoding="utf-8", errors="replace") as file:
            for line in file:
                parts = line.split()
                address = int(parts[5], 16) if len(parts) > 5 else 0
                modules.append(Module(parts[0], int(parts[1]), address, _module_instance(parts[0])))
    except FileNotFoundError:
        return []  # a kernel without CONFIG_MODULES
    return modules


def read_btf(module: str = "") -> bytes | None:
    """Return the kernel's BTF, or a module's split BTF; ``None`` when there is none.

    Raises:
        PrivilegeError: it is there but not readable.
    """
    path = f"{_BTF_ROOT}/{module}" if module else VMLINUX_BTF
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PrivilegeError(f"cannot read {path}", hint="run as root") from None


def has_btf() -> bool:
    """Return whether the kernel describes its types."""
    return os.path.exists(VMLINUX_BTF)


def btf_modules() -> list[str]:
    """Return the modules that have BTF, sorted."""
    try:
        return sorted(name for name in os.listdir(_BTF_ROOT) if name != "vmlinux")
    except OSError:
        return []


def require_btf() -> bytes:
    """Return the kernel's BTF.

    Raises:
        TargetError: the kernel has none.
    """
    data = read_btf()
    if data is None:
        raise TargetError("this kernel has no BTF", hint="needs CONFIG_DEBUG_INFO_BTF; without it types are unknown")
    return data


def raise_memlock_limit() -> bool:
    """Lift RLIMIT_MEMLOCK, which kernels before 5.11 charge BPF memory to; return whether it worked.

    Failing needs CAP_SYS_RESOURCE and is no error: newer kernels do not look at the limit.
    """
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return True


def raise_file_limit(more: int) -> None:
    """Allow this process at least `more` descriptors besides the usual ones, as far as its hard limit goes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = more + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), hard))


def pid_namespace() -> tuple[int, int] | None:
    """Return (device, inode) of this process's pid namespace when it is not the initial one, else ``None``."""
    initial_inode = 0xEFFFFFFC  # PROC_PID_INIT_INO
    try:
        found = os.stat("/proc/self/ns/pid")
    except OSError:
        return None
    if found.st_ino == initial_inode or not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino


@functools.cache
def pmu_type(name: str) -> int | None:
    """Return the type number of the dynamic PMU `name` (``kprobe``, ``uprobe``); ``None`` when the kernel lacks it."""
    try:
        with open(f"{_PMU_ROOT}/{name}/type", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


@functools.cache
def pmu_bit(name: str, field: str) -> int | None:
    """Return the lowest bit of format `field` in the config of PMU `name` (``retprobe`` is usually bit 0)."""
    try:
        with open(f"{_PMU_ROOT}/{name}/format/{field}", encoding="utf-8") as file:
            text = file.read().strip()
    except OSError:
        return None
    kind, _, bits = text.partition(":")
    if kind != "config":
        return None
    low = bits.partition("-")[0]
    return int(low) if low.isdigit() else None
