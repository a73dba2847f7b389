"""``skboutput()``: packets in pcap files."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trapline
from trapline.cli import main
from trapline.errors import SemanticError, TargetError

pytestmark = pytest.mark.needs("fentry")


def read_packets(path: Path) -> list[tuple[int, bytes]]:
    """Return (time in ns, bytes) of what a pcap file holds."""
    data = path.read_bytes()
    magic, major, minor, _, _, longest, link = struct.unpack_from("=IHHiIII", data)
    assert (magic, major, minor, longest, link) == (0xA1B23C4D, 2, 4, 65535, 101)
    at, found = 24, []
    while at < len(data):
        seconds, ns, kept, size = struct.unpack_from("=IIII", data, at)
        assert kept == size
        found.append((seconds * 1_000_000_000 + ns, data[at + 16 : at + 16 + kept]))
        at += 16 + kept
    assert at == len(data)
    return found


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        yield receiver.getsockname()


@pytest.mark.rows("1.7.37")
def test_packets_are_in_the_file(address: tuple[str, int], tmp_path: Path) -> None:
    whole, behind = tmp_path / "whole.pcap", tmp_path / "behind.pcap"
    program = f"""fentry:ip_rcv {{
        @[skboutput("{whole}", args.skb, args.skb.len, 0)] = count();
        skboutput("{behind}", args.skb, args.skb.len, 20);
        @bad = skboutput("{whole}", args.skb, args.skb.len + 1, 0);
    }}"""
    before = time.time_ns()
    with (
        pytest.warns(trapline.TraplineWarning, match="Bad address"),
        trapline.Session(program, cache=False) as session,
    ):
        session.attach()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sent = [b"packet number %d." % n * (n + 1) for n in range(20)]
            for payload in sent:
                sender.sendto(payload, address)
        session.finish()
        assert session.maps["@"][0] >= len(sent)
        assert session.maps["@bad"][None] == -14
    packets = read_packets(whole)
    port = struct.pack(">H", address[1])
    ours = [(when, packet) for when, packet in packets if packet[9] == socket.IPPROTO_UDP and packet[22:24] == port]
    assert [packet[28:] for _, packet in ours] == sent
    assert all(packet[0] == 0x45 and int.from_bytes(packet[2:4], "big") == len(packet) for _, packet in ours)
    assert before - 1_000_000_000 < ours[0][0] <= ours[-1][0] < time.time_ns() + 1_000_000_000
    assert [packet[8:] for _, packet in read_packets(behind) if packet[2:4] == port] == sent


@pytest.mark.rows("1.7.37")
def test_packets_that_find_the_buffer_full_are_told(
    address: tuple[str, int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flood.pcap"
    program = f"""config = {{ perf_rb_pages = 1 }} fentry:ip_rcv /args.skb.len > 1000/ {{
        @[skboutput("{path}", args.skb, args.skb.len, 0) == 0] = count();
    }}"""
    sender = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(300): s.sendto(bytes(1400), ("127.0.0.1", {address[1]}))
"""
    script = tmp_path / "sender.py"
    script.write_text(sender)
    assert main(["-e", program, "-c", f"python3 {script}"]) == 0
    out, err = capfd.readouterr()
    counts = {line.partition(":")[0]: int(line.rpartition(" ")[2]) for line in out.splitlines() if line.startswith("@")}
    written = len(read_packets(path))
    assert written == counts["@[true]"] and written + counts["@[false]"] >= 300
    assert "No space left on device" in err and "helper: skb_output" in err


def test_a_file_that_cannot_be_made() -> None:
    with pytest.raises(TargetError, match="skboutput\\(\\) cannot write /nowhere/x: No such file or directory"):
        trapline.Session('fentry:ip_rcv { skboutput("/nowhere/x", args.skb, 1, 0) }', cache=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("$p, args.skb, 1, 0", "skboutput() expects a string literal (string provided)"),
        ('"x", 1, 1, 0', "skboutput() only supports pointer arguments (int provided)"),
        ('"x", args.dev, 1, 0', "skboutput() expects a struct sk_buff *, not struct net_device *"),
        ('"x", args.skb, "1", 0', "skboutput() only supports int arguments (string provided)"),
        ('"x", args.skb, 1, args.skb.len', "skboutput() expects an int literal (int provided)"),
    ],
)
def test_wrong_arguments(arguments: str, message: str) -> None:
    with pytest.raises(SemanticError) as raised:
        trapline.Session(f'fentry:ip_rcv {{ $p = "x"; skboutput({arguments}); }}', cache=False)
    assert message in str(raised.value)
