# Everyday commands. `make help` lists them; each target does its own set-up.

# As root the virtual environment goes where the unprivileged processes of the server can read it
# (a clone under /root is not readable); .venv is then a link to it.
IS_ROOT := $(filter 0,$(shell id -u))
ifdef IS_ROOT
VENV := /opt/udsrv-dev/$(shell printf %s '$(CURDIR)' | sha256sum | cut -c1-12)/venv
else
VENV := $(CURDIR)/.venv
endif
PORT ?= 8080
PYTEST_ARGS ?=
SCENARIOS ?= quick

# Debian keeps nginx in /usr/sbin, which is not on every user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
# PyO3 builds for this interpreter, not for the python3 that happens to be on PATH.
export PYO3_PYTHON := /usr/bin/python3
export CARGO_TARGET_DIR := $(CURDIR)/target
export PYTHONDONTWRITEBYTECODE := 1
# Cargo plans its own work: the slots of a parallel make are not handed on to it.
WITH_CARGO = MAKEFLAGS= PATH="$$(tools/find-cargo.sh):$$PATH"

# What must be there, in the words of tools/ensure-programs.sh.
BUILD_NEEDS := ensurepip cc libc-headers cargo
RUN_NEEDS := $(BUILD_NEEDS) nginx
CHECK_NEEDS := $(BUILD_NEEDS) libpython cargo-clippy cargo-fmt shellcheck
TEST_NEEDS := $(RUN_NEEDS) $(CHECK_NEEDS) systemd-analyze $(if $(IS_ROOT),systemd-nspawn strace ss)

.DEFAULT_GOAL := help
.PHONY: help build run test check bench bench-all profile lock clean
.PHONY: writable build-needs run-needs check-needs test-needs
.PHONY: python check-python check-rust test-rust test-python e2e-root

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

build: build-needs python  ## build the release wheel into dist/ and install it into .venv
	@$(WITH_CARGO) tools/build-wheel.sh "$(VENV)"

run: run-needs build  ## serve examples/ behind an nginx of its own on http://127.0.0.1:8080 (PORT=...)
	@PYTHONPATH=tests exec "$(VENV)/bin/python" tools/run_example.py --port $(PORT)

test: test-needs python  ## everything that CI runs
	@echo 'udsrv: building, and checking beside it (the first time compiles for some minutes)'
	@$(MAKE) --no-print-directory -j2 --output-sync=target check build test-rust $(if $(IS_ROOT),e2e-root)
	@$(MAKE) --no-print-directory test-python

check: check-python check-rust  ## format, lint, types, import rules

# After `all` the document is written too, also when a server failed (1): the tables say so.
bench: build  ## CPU time per request beside other servers (SCENARIOS="hello flask ...", or all)
	@status=0; \
	"$(VENV)/bin/python" benchmarks/run.py $(SCENARIOS:%=--scenario %) || status=$$?; \
	$(if $(filter all,$(SCENARIOS)),[ $$status -gt 1 ] || "$(VENV)/bin/python" benchmarks/document.py;) \
	exit $$status

bench-all: run-needs  ## every scenario and server, a quarter of an hour; writes docs/benchmarks.md
	@$(MAKE) --no-print-directory bench SCENARIOS=all

profile: build  ## where the CPU time of a hello request goes; needs root and perf
	@"$(VENV)/bin/python" benchmarks/profile.py

lock:  ## pin requirements/dev.in again, as requirements/dev.txt
	@tools/lock-requirements.sh

clean:  ## remove everything that these targets made
	rm -rf target dist .cache .venv $(filter /opt/udsrv-dev/%,$(patsubst %/venv,%,$(VENV)))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the parts -------------------------------------------------------------------------------------

writable:
	@for made in target dist .cache .venv; do \
	    [ ! -e $$made ] || [ -w $$made ] || \
	    { echo "udsrv: $$made was made by another user; remove it with: sudo make clean" >&2; exit 1; }; \
	done

# In one go, and for `make test` before anything runs in parallel: two installations at once would be
# in each other's way.
build-needs: NEEDS = $(BUILD_NEEDS)
run-needs: NEEDS = $(RUN_NEEDS)
check-needs: NEEDS = $(CHECK_NEEDS)
test-needs: NEEDS = $(TEST_NEEDS)
build-needs run-needs check-needs test-needs: writable
	@tools/ensure-programs.sh $(NEEDS)

python: writable
	@tools/ensure-programs.sh ensurepip
	@tools/make-venv.sh "$(VENV)" requirements/dev.txt
	@$(if $(IS_ROOT),tools/link-venv.sh "$(VENV)")

check-python: check-needs python
	"$(VENV)/bin/ruff" format --check .
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/mypy"
	PYTHONPATH=src "$(VENV)/bin/lint-imports" --no-cache
	shellcheck .ci/run tools/*.sh $(wildcard tests/support/*.sh tests/e2e/*.sh packaging/udsrv.data/scripts/*)

check-rust: check-needs
	$(WITH_CARGO) cargo fmt --check
	$(WITH_CARGO) cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

test-rust: check-needs
	$(WITH_CARGO) cargo test --quiet --locked --workspace

test-python: python
	@"$(VENV)/bin/python" -m pytest $(PYTEST_ARGS)

# The tree that tests/e2e boots; only root can make and boot it.
e2e-root:
	@tests/e2e/make-root.sh .cache/e2e
