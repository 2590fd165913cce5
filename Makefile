# `make test` and `make demo` work on a fresh Debian 12: missing Debian packages are installed (as root) or named. Python
# packages go to .venv.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin

# Debian keeps Orthanc and tcpdmatch where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

# Without compiled sources each start takes three times as long, and every worker of the tests compiles them all again.
unexport PYTHONDONTWRITEBYTECODE

# The system's python3 or the PATH's, if it is new enough, otherwise the newest one. The system's before others: on Debian
# it is what users have, and another one may be built without optimisation. Expanded on use: it may have been installed
# just before.
PYTHON ?= $(shell for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

.PHONY: pictures test test-all test-without test-windows dist pyz prepared lint typecheck docs pages demo bench fuzz soak mutants venv clean python3-venv peers debian-packages

# Three workers for each processor: the tests wait for their peers more than half the time.
WORKERS ?= $(shell echo $$((3 * $$(nproc))))

# `make test` runs samples of long matrices (pytest's marker "sampled"), `make test-all` every case.
# Debian's packages are installed while Python's are, the sources are linted and the tests are collected, once, so that
# not each worker compiles them. mypy runs beside all that and the tests; its errors are shown after theirs.
# A failed test fails the run. Only tests marked pynetdicom_sender (pyproject.toml has the reason), and those whose port
# was taken, are repeated, once, and the summary lists them as RERUN.
ifneq ($(PYTHONS),)
# With several versions of Python, each in an environment of its own: make test PYTHONS="python3.12 python3.13"
test:
	@failed=; for python in $(PYTHONS); do \
	    $(MAKE) --no-print-directory test PYTHONS= PYTHON=$$python VENV=$(VENV)-$$(basename $$python) || failed+=" $$python"; \
	done; [ -z "$$failed" ] || { echo "failed with$$failed" >&2; exit 1; }
else
test test-all: python3-venv
	@$(MAKE) --no-print-directory peers & peers=$$!; \
	$(MAKE) --no-print-directory lint || { wait; exit 1; }; \
	echo "$(BIN)/mypy, beside the tests"; $(BIN)/mypy >$(VENV)/types.log 2>&1 & types=$$!; \
	$(BIN)/python -m pytest --collect-only -q >/dev/null; \
	wait $$peers || { wait; exit 1; }; \
	MOVESCU_PEERS=required $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(if $(filter test-all,$@),--whole); tests=$$?; \
	wait $$types; types=$$?; cat $(VENV)/types.log; \
	exit $$((tests || types))
endif

# The suite on a system that lacks something: make test-without X=locks (tests/support/without has the names)
test-without: prepared
	MOVESCU_WITHOUT=$(X) MOVESCU_PEERS=required $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Retrieves with Python for Windows, under Wine (700 MB), from the peers of this system. Each start takes a second. Left
# out is what needs a signal or another file than a pipe for output: those that Wine's process does not get.
WINDOWS_TESTS := $(addprefix tests/interop/test_,archives.py lists.py resume.py get.py find.py check_files.py) \
	-k "not killed and not interrupted and not full_device"
test-windows: prepared
	@command -v wine64 /usr/lib/wine/wine64 >/dev/null || $(MAKE) --no-print-directory debian-packages PACKAGES=wine64
	$(BIN)/python tools/windows.py -m movescu --version
	MOVESCU_INTERPRETER="$(CURDIR)/$(BIN)/python $(CURDIR)/tools/windows.py" \
	    $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(WINDOWS_TESTS)

# Debian and Python packages are installed at the same time, except python3-venv: two apt-get would block each other.
prepared: python3-venv
	@$(MAKE) --no-print-directory --jobs=2 peers venv

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev
	$(BIN)/mypy

# The variable silences an announcement by the theme, which is not a warning about the pages.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

# The generated pages, from the option table and docstrings; a test fails if they are out of date.
pages: $(VENV)/.run
	$(BIN)/python tools/make_manual.py
	$(BIN)/python tools/make_options_page.py
	$(BIN)/python tools/make_reliability_table.py
	$(BIN)/python tools/make_matrix_table.py
	$(BIN)/python tools/make_causes_table.py
	$(BIN)/python tools/make_api_page.py

# What a release consists of: sdist, wheel, zip application and bill of materials, checked. The same commit makes the
# same bytes with the same versions of the dependencies.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1580601600)
dist: $(VENV)/.dev
	$(BIN)/pip install --quiet --editable '.[release]'
	rm -rf dist
	$(BIN)/hatchling build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python tools/make_sbom.py dist/movescu.spdx.json
	$(BIN)/python tools/make_pyz.py dist/movescu.pyz
	cd dist && sha256sum * >SHA256SUMS

# The command with everything that it needs, for a machine that has nothing but Python.
pyz: $(VENV)/.run
	@mkdir -p dist
	$(BIN)/python tools/make_pyz.py dist/movescu.pyz

# The pictures of README and pages, from real runs: to be made again when the display changes.
pictures: $(VENV)/.dev
	$(BIN)/python tools/make_pictures.py
	$(BIN)/python tools/make_page_picture.py

demo: $(VENV)/.report
	$(BIN)/python -m movescu.testing.demo

# A few minutes; SERVERS=1 adds the stock servers, for which DCMTK as installed takes ten minutes.
bench: peers $(VENV)/.dev
	$(BIN)/python bench/run.py $(if $(SERVERS),--servers)
	$(BIN)/python bench/live_page.py

# Ten minutes: kill and fail each call of a run on its files; run many bad and good senders; then a list of 10,000.
soak: peers $(VENV)/.dev
	SWEEP=full $(BIN)/python -m pytest -q -n 2 tests/storage/test_file_system_faults.py tests/interop/test_cohort.py
	MOVESCU_LIES=1000 $(BIN)/python -m pytest -q -n 2 tests/retrieve/test_liars.py tests/cohort/test_list_liars.py
	$(BIN)/python bench/soak.py
	$(BIN)/python bench/absence.py
	$(BIN)/python bench/long_list.py

# Each target in turn, for FUZZ_SECONDS; or those named by TARGETS. docs/fuzzing.md explains what to do with findings.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.dev
	$(BIN)/python fuzz/run.py $(TARGETS) --seconds $(FUZZ_SECONDS)

# An hour or two: change the modules that decide, one expression at a time, and see whether a test fails. tools/mutants.py
# names modules and tests; MODULES="retrieve/judgement query/matching" tries those alone. Prints what no test noticed.
mutants: peers $(VENV)/.dev
	nice $(BIN)/python tools/mutants.py $(MODULES)

venv: $(VENV)/.dev

clean:
	rm -rf $(VENV) mutants build dist site demo-output demo-page.html screenshots .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# pip compiles what it copies; without this, each start takes three times as long where Python cannot write bytecode.
COMPILE := $(BIN)/python -m compileall -q src

# Stamps: each step is done once, and again when pyproject.toml changes. What the tests need includes what a run needs.
$(VENV)/.made: | python3-venv
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.run: pyproject.toml | $(VENV)/.made
	$(BIN)/pip install --quiet --editable .
	$(COMPILE)
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(COMPILE)
	touch $(VENV)/.run $@

$(VENV)/.report: pyproject.toml | $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[report]'
	$(COMPILE)
	touch $(VENV)/.run $@

$(VENV)/.docs: pyproject.toml | $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $(VENV)/.run $@

# Debian's python3 cannot make environments without this package.
python3-venv:
	@$(if $(PYTHON),$(PYTHON),false) -c 'import ensurepip' 2>/dev/null \
	|| $(MAKE) --no-print-directory debian-packages PACKAGES="$(or $(notdir $(PYTHON)),python3)-venv"

# The servers, clients and oracles of the tests. Each pair is a command and its package.
peers:
	@missing=; \
	for pair in chromium:chromium dcmqrscp:dcmtk Orthanc:orthanc tcpdmatch:tcpd strace:strace openssl:openssl zsh:zsh \
	    fish:fish ip:iproute2 mandoc:mandoc man:man-db groff:groff dcm2niix:dcm2niix sbatch:slurm-client slurmctld:slurmctld \
	    slurmd:slurmd systemd-analyze:systemd; do \
	    command -v "$${pair%:*}" >/dev/null || missing+=" $${pair#*:}"; \
	done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=" postgresql"; \
	[ -z "$$missing" ] || $(MAKE) --no-print-directory debian-packages PACKAGES="$${missing# }"

# Orthanc's package would start a server on its default ports, now and at every boot, PostgreSQL's would make and start a
# cluster, and Slurm's would start the daemon of keys. The tests start their own.
debian-packages:
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	    echo "Not installed: $(PACKAGES). On Debian, run as root:" >&2; \
	    echo "    apt-get install --no-install-recommends $(PACKAGES)" >&2; \
	    exit 1; \
	fi; \
	set -e; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	    trap "rm -f $$policy" EXIT; \
	    printf '#!/bin/sh\nexit 101\n' >$$policy; \
	    chmod 755 $$policy; \
	fi; \
	defaults=/etc/postgresql-common/createcluster.conf; \
	case "$(PACKAGES)" in *postgresql*) if [ ! -e $$defaults ]; then \
	    mkdir -p $$(dirname $$defaults); \
	    echo 'create_main_cluster = false' >$$defaults; \
	fi ;; esac; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq; \
	apt-get install -qq --no-install-recommends $(PACKAGES); \
	if [ -d /run/systemd/system ]; then \
	    case "$(PACKAGES)" in *orthanc*) systemctl --quiet disable orthanc ;; esac; \
	    case "$(PACKAGES)" in *slurm*) systemctl --quiet disable munge slurmd slurmctld ;; esac; \
	fi
