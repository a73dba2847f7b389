"""Print which files are opened, and by whom: file names as Python strings."""

import sys

import trapline

PROGRAM = 'kprobe:do_sys_openat2 { printf("%d %s %s", pid, comm, str(args.filename)) }'

with trapline.Session(PROGRAM) as session:
    for event in session.events(timeout=float(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(event.pid, event.comm, event[2])
