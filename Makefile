# Everything is in tools/develop; make only gives it short names.
PYTHON ?= python3
DEVELOP = $(PYTHON) -m tools.develop

.PHONY: help setup demo check test clean

help:
	@echo "make demo    run the three examples on real kernel probes (sets up what they need)"
	@echo "make test    every check and test, on this machine and in guests with kernels 6.1, 6.12 and Debian sid's"
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

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
