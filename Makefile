# Everything is in tools/develop; make only gives it short names.
# Debian's own Python, where it is new enough: it is optimised and statically linked, which counts twice in a guest.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)
DEVELOP = $(PYTHON) -m tools.develop

.PHONY: help setup demo check test test-each clean

help:
	@echo "make demo    run the three examples on real kernel probes (sets up what they need)"
	@echo "make test    every check and test, on this machine and in guests with kernels 6.1, 6.12 and Debian sid's"
	@echo "make test-each  the same, with every test on every kernel: twice as long"
	@echo "make check   lint, types and layers only"
	@echo "make setup   install everything that make test needs"
	@echo "make clean   remove the virtual environment and what was built"

setup:
	@$(DEVELOP) setup

demo:
	@$(DEVELOP) demo $(if $(KERNEL),--guest --kernel $(KERNEL))

check:
	@$(DEVELOP) check

test:
	@$(DEVELOP) test

test-each:
	@$(DEVELOP) test --each

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
