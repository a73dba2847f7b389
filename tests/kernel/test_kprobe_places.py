"""Where a kernel probe can be: functions, offsets, addresses, modules, wildcards; and what it knows there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.harness.features import has_feature
from tests.harness.limits import scaled
from tests.kernel.traced import ME, trace

import trapline
from trapline.kernel.target import LiveTarget

pytestmark = [pytest.mark.needs("kprobes"), pytest.mark.limit(60)]


def nap() -> None:
    time.sleep(0.001)


def address_of(name: str) -> int:
    """Return a function's address."""
    address = LiveTarget().symbol_address(name)
    assert address
    return address


@pytest.fixture(scope="module")
def inside() -> int:
    """The offset of an instruction behind the first one of do_nanosleep: the first that the kernel accepts."""
    for offset in range(5, 24):
        try:
            with trapline.Session(f"kprobe:do_nanosleep+{offset} {{ @ = count() }}", cache=False) as session:
                session.attach()
                return offset
        except trapline.AttachError as error:
            assert "not at the start of an instruction" in error.message
    raise AssertionError("no offset was accepted")


def test_the_entry() -> None:
    done = trace('kprobe:do_nanosleep /pid == $1/ { printf("%s %s %lu", probe, func, reg("ip")) }', nap)
    (event,) = done.events
    # The trap at the first byte has been taken: ip is behind it.
    assert event.text == f"kprobe:do_nanosleep do_nanosleep {address_of('do_nanosleep') + 1}"
    assert (event.probe, event.pid, event.tid) == ("kprobe:do_nanosleep", int(ME), int(ME))
    assert done.missed == {"kprobe:do_nanosleep": 0}


def test_an_offset_in_decimal_and_in_hexadecimal(inside: int) -> None:
    body = '/pid == $1/ { printf("%s %lu", func, reg("ip")) }'
    done = trace(f"kprobe:do_nanosleep+{inside} {body} kprobe:do_nanosleep+{inside:#x} {body}", nap)
    assert done.texts == [f"do_nanosleep {address_of('do_nanosleep') + inside + 1}"] * 2


def test_a_raw_address_needs_unsafe(inside: int) -> None:
    address = address_of("do_nanosleep") + inside
    text = f'kprobe:{address:#x} /pid == $1/ {{ printf("%s %lu", func, reg("ip")) }}'
    with pytest.raises(trapline.SemanticError, match="--unsafe"):
        trace(text)
    assert trace(text, nap, unsafe=True).texts == [f"do_nanosleep {address + 1}"]
    assert trace(text.replace(f"{address:#x}", str(address)), nap, unsafe=True).texts == [f"do_nanosleep {address + 1}"]


def test_a_function_of_a_module_by_its_module_and_without() -> None:
    # 9p carries the guest's files, overlay lies on top of them: one of them looks at this file.
    loaded = {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}
    module, function = next(row for row in (("overlay", "ovl_getattr"), ("9p", "v9fs_vfs_getattr_dotl"))
                            if row[0] in loaded)  # fmt: skip
    text = f"""
        kprobe:{module}:{function} /pid == $1/ {{ @[probe, func] = count(); @path = (uint64)args.path }}
        kretprobe:{module}:{function} /pid == $1/ {{ @r[retval, (uint64)args.path == @path] = count() }}
        kprobe:{function} /pid == $1/ {{ @bare = count() }}
        kprobe:{module}:{function[:-2]}* /pid == $1/ {{ @wild[probe] = count() }}
    """
    done = trace(text, lambda: [os.stat(path) for path in ("/etc/hostname", __file__)])
    hits = done.maps["@bare"][None]
    assert hits >= 1
    ((key, count),) = done.maps["@"].items()
    assert (key[0], str(key[1]), count) == (f"kprobe:{module}:{function}", function, hits)
    # The return probe is attached first, and what attaches the others looks at files, too: those are (0, False).
    assert done.maps["@r"][0, True] == hits
    assert done.maps["@wild"][f"kprobe:{module}:{function}"] == hits


def test_vmlinux_is_a_module_of_that_name() -> None:
    done = trace('kprobe:vmlinux:do_nanosleep /pid == $1/ { printf("%s", func) }', nap)
    assert done.texts == ["do_nanosleep"]


@pytest.mark.needs("bpftool")
@pytest.mark.parametrize("provider", ["kprobe", "kretprobe"])
def test_a_wildcard_is_one_link_where_the_kernel_has_such_links(provider: str) -> None:
    def links() -> list[dict[str, object]]:
        command = ["/usr/sbin/bpftool", "-j", "link", "show"]
        found = subprocess.run(command, capture_output=True, timeout=scaled(10), check=True).stdout
        rows: list[dict[str, object]] = json.loads(found or b"[]")
        return [row for row in rows if row["id"] not in before]

    def act() -> list[dict[str, object]]:
        nap()
        return links()

    before: set[object] = set()
    before = {row["id"] for row in links()}
    text = f"{provider}:*nanosleep /pid == $1/ {{ @[probe] = count(); @func[func] = count() }}"
    done = trace(text, act)
    names = [probe.partition(":")[2] for probe in trapline.probes(f"{provider}:*nanosleep")]
    assert len(names) >= 5 and "do_nanosleep" in names and done.attached == len(names)
    if has_feature("kprobe_multi"):
        assert [row["type"] for row in done.result] == ["kprobe_multi"]
    else:
        assert [row["type"] for row in done.result] == ["perf_event"] * len(names)
    fired = {name.partition(":")[2]: count for name, count in done.maps["@"].items()}
    assert fired["do_nanosleep"] == fired["hrtimer_nanosleep"] >= 1  # waiting for bpftool sleeps, too
    assert {str(func): count for func, count in done.maps["@func"].items()} == fired and set(fired) <= set(names)


def test_wildcards_can_be_in_any_place() -> None:
    done = trace("kprobe:d*_nanoslee*p, kprobe:*rtimer_nanosleep /pid == $1/ { @[probe] = count() }", nap)
    assert done.maps["@"] == {"kprobe:do_nanosleep": 1, "kprobe:hrtimer_nanosleep": 1}


def test_the_value_that_a_function_returns() -> None:
    def act() -> tuple[int, int]:
        number = os.open("/etc/hostname", os.O_RDONLY)
        os.close(number)
        try:
            os.open("/nonexistent", os.O_RDONLY)
        except FileNotFoundError as error:
            return number, -error.errno
        raise AssertionError

    done = trace('kretprobe:do_sys_openat2 /pid == $1/ { printf("%s %d", probe, (int64)retval) }', act)
    assert done.texts == [f"kretprobe:do_sys_openat2 {number}" for number in done.result]


def test_entry_and_return_of_one_function() -> None:
    text = """
        kprobe:do_nanosleep /tid == $1/ { @start[tid] = nsecs; printf("in") }
        kretprobe:do_nanosleep /@start[tid]/ {
            printf("out %d %d", retval, (nsecs - @start[tid]) / 1000000); delete(@start[tid])
        }
    """
    done = trace(text, lambda: time.sleep(0.02))
    entered, left = done.texts
    assert entered == "in" and left.startswith("out 0 ")
    assert 20 <= int(left.split()[2]) < scaled(1000)
    assert done.maps["@start"] == {}


@pytest.mark.parametrize("place", ["do_nanosleep", "do_nanoslee*"])
def test_many_programs_on_one_function_run_in_source_order(place: str) -> None:
    blocks = [f'kprobe:{place} /pid == $1/ {{ printf("in {i}") }}' for i in range(5)]
    blocks += [f'kretprobe:{place} /pid == $1/ {{ printf("out {i}") }}' for i in range(3)]
    # Their order in the text counts, not their kind.
    text = "\n".join([blocks[5], *blocks[:3], blocks[6], *blocks[3:5], blocks[7]])
    expected = [f"in {i}" for i in range(5)] + [f"out {i}" for i in range(3)]
    assert trace(text, lambda: [nap(), nap()]).texts == expected * 2


def test_registers_and_stacks() -> None:
    text = """
        kprobe:do_nanosleep /pid == $1/ {
            printf("%d %d %s", reg("di") == arg0, reg("si") == arg1, kstack);
            print(kstack(2)); @[kstack(3)] = count()
        }
    """
    done = trace(text, nap)
    first, second = done.texts
    frames = [line.strip().partition("+")[0] for line in first.splitlines() if line.strip()]
    assert frames[:2] == ["1 1", "do_nanosleep"] or frames[0].startswith("1 1")
    assert "hrtimer_nanosleep" in frames and "do_nanosleep" in frames[:2]
    assert [line.strip().partition("+")[0] for line in second.splitlines() if line.strip()] == [
        "do_nanosleep",
        "hrtimer_nanosleep",
    ]
    assert list(done.maps["@"].values()) == [1]
