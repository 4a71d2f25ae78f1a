# One virtual environment, built from requirements.lock and rebuilt when that file changes.
# PYTHON=/path/to/python selects another Python for the environment.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# The tests that start whole programs, the stack, workers, Kamailio and phones, and end them while they work.
PROGRAMS := tests/workers tests/sip tests/faults tests/browser/test_whole_site.py tests/web/test_rabbitmq_away.py

.PHONY: run test test-programs test-long bench chaos hosts upgrade release screenshots lock audit images compose-env check fmt clean setup tools collected packages

run: setup
	@$(BIN)/standorte up

# The static checks run beside the installation of what the tests need.
test:
	@$(MAKE) --no-print-directory -j 2 check collected
# Where Python may not write bytecode, each of the hundred programs that the tests start compiles ours anew.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 $(addprefix --ignore=,$(PROGRAMS))

# Another five minutes, which mostly wait for programs to start, to be killed and to recover.
test-programs: tools
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 $(PROGRAMS)

# What both try in part, tried as a whole: every cell of the rights matrix, every string in every field, each
# two operations at once, hundreds of histories and of generated calls; and pages without row-level security, which would
# hide a forgotten filter. Takes hours.
test-long: tools
	@PYTHONDONTWRITEBYTECODE= RIGHTS_MATRIX=all NAUGHTY_STRINGS=all LOCK_PAIRS=all HISTORIES=300 \
		CONFORMANCE_EXAMPLES=500 MOVES=20 $(BIN)/python -m pytest -n 2 tests/web/test_rights_matrix.py \
		tests/web/test_naughty_strings.py tests/web/api/test_naughty_bodies.py tests/web/test_names_in_all_media.py \
		tests/tasks/engine/test_lock_pairs.py tests/tasks/engine/test_state_machine.py \
		tests/tasks/steps/test_change_histories.py tests/web/api/test_conformance.py \
		tests/sip/test_moves.py
	@PYTHONDONTWRITEBYTECODE= ROW_SECURITY=false $(BIN)/python -m pytest -n 2 tests/web

# make bench ONLY="bulkheads throughput" measures these parts alone; SHORT=1 little of everything.
bench: setup
	@.make/sip
	@$(BIN)/python -m tests.benchmarks $(if $(SHORT),--short) $(foreach part,$(ONLY),--only $(part))

# Two minutes of load while the parts are killed, cut and filled, then the auditor's report; LONG=1 takes an hour
# (REQUESTS=4000: less than half of it).
chaos: setup
	@$(BIN)/python -m tests.chaos $(if $(LONG),--long) $(if $(REQUESTS),--requests $(REQUESTS))

# The system on ten hosts, each a network namespace, of which one after the other is cut off; LONG=1 each host in each
# way. Needs root; where it cannot run, it says so and ends with 77.
hosts: setup
	@.make/haproxy
	@$(BIN)/python -m tests.hosts $(if $(LONG),--long) $(if $(RATE),--rate $(RATE))

# The version before serves customers while this one migrates a database of a million rows. REV=tag or commit: another
# version before; ROWS=100000 for fewer rows.
upgrade: setup
	@$(BIN)/python -m tests.upgrade $(if $(REV),--rev $(REV)) $(if $(ROWS),--rows $(ROWS)) $(if $(RATE),--rate $(RATE))

# Tag this commit as the version of models/version.py, if everything is there that a release needs.
release: setup
	@$(BIN)/python .make/release

# Make the pictures in docs/screenshots, from a separate stack with the demo data.
screenshots: setup
	@.make/chromium
	@.make/sip
	@$(BIN)/python -m tests.browser.screenshots

# Static checks, the quick ones first.
check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python .make/missing-translations
	@.make/dead-code $(VENV)
	@.make/lint-migrations $(VENV)
	@$(BIN)/mypy

fmt: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock:
	@.make/lock

# Known vulnerabilities of all locked packages, where their data can be reached.
audit: setup
	@$(BIN)/python .make/audit

images:
	@.make/images

compose-env:
	@.make/compose-env

clean:
	rm -rf $(VENV) .venv-audit build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
		tests/browser/vendor

tools: packages setup
	@.make/assets

# pytest rewrites the asserts of every test file: here once, beside the checks, instead of in each of its processes.
# What is wrong with a file the tests say.
collected: tools
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1 || true

packages:
	@.make/chromium
	@.make/sip
	@.make/pgbouncer
	@.make/rabbitmq

setup: $(STAMP)
	@.make/translations

$(STAMP): requirements.lock .make/venv
	@PYTHON="$(PYTHON)" .make/venv $(VENV)
	@touch $@
