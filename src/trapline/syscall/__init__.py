"""System calls and files of the kernel: bpf(2), perf_event_open(2), mapped rings, tracefs, kallsyms, /proc."""
