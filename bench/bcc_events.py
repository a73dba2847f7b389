"""A BCC script, run by trapline and by BCC: how long a callback takes to get all events that lie in a full buffer.

    bcc_events.py perf|ring event|bare EVENTS

The buffer has room for all of them: they are made first and then delivered, so the figure is the rate at which the
program can keep up, and none may be lost. Prints one line of JSON.
"""

import json
import os
import sys
import time

from bcc import BPF

kind, callback, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
declare, submit = {
    "perf": ("BPF_PERF_OUTPUT(events);", "events.perf_submit(args, &event, sizeof(event));"),
    "ring": ("BPF_RINGBUF_OUTPUT(events, 16384);", "events.ringbuf_output(&event, sizeof(event), 0);"),
}[kind]
b = BPF(
    text="""
struct event { u64 ns; u32 pid; u32 tid; char comm[16]; };
DECLARE
TRACEPOINT_PROBE(syscalls, sys_enter_getppid) {
    struct event event = {};
    u64 id = bpf_get_current_pid_tgid();
    if (id >> 32 != PID)
        return 0;
    event.ns = bpf_ktime_get_ns();
    event.pid = id >> 32;
    event.tid = id;
    bpf_get_current_comm(event.comm, sizeof(event.comm));
    SUBMIT
    return 0;
}
""".replace("DECLARE", declare)
    .replace("SUBMIT", submit)
    .replace("PID", str(os.getpid()))
)
seen = total = lost = 0


def with_event(_context: object, data: int, _size: int) -> None:
    """Do what the callbacks of BCC's tools do."""
    global seen, total
    event = b["events"].event(data)
    seen += 1
    total += event.pid


def bare(_context: object, _data: int, _size: int) -> None:
    global seen
    seen += 1


def on_lost(number: int) -> None:
    global lost
    lost += number


chosen = with_event if callback == "event" else bare
if kind == "perf":
    b["events"].open_perf_buffer(chosen, page_cnt=16384, lost_cb=on_lost)
    poll = b.perf_buffer_poll
else:
    b["events"].open_ring_buffer(chosen)
    poll = b.ring_buffer_poll
cpus = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(cpus)})
for _ in range(count):
    os.getppid()
os.sched_setaffinity(0, cpus)
start, cpu_start = time.perf_counter(), time.process_time()
while seen + lost < count and time.perf_counter() - start < 60:
    poll(100)
wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
assert callback == "bare" or total == seen * os.getpid()
print(json.dumps({"seen": seen, "lost": lost, "ns": wall / count * 1e9, "cpu_ns": cpu / count * 1e9}))
