"""Benchmarks: what the budgets name, trapline and bpftrace alternating in one run; prints the ratios."""
