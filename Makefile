# Everything a checkout can do. Needs python3 >= 3.11 only; missing Debian packages are installed when run by root.
#
#   make demo [PHOTOS=dir] [ONCE=1]   build the variants of a folder of pictures and serve a gallery of them
#   make quick                        unit and contract tests on SQLite, under a minute
#   make test                         lint, types, import rules, all tests on all services, both Djangos, docs
#   make test-faults [FAULTS="..."]   the fault suite: kills, stalls and outages on all databases and brokers
#   make test-django6 PYTHON6=python3.12   the tests of the Django app with Django 6, which needs Python 3.12 or newer
#   make bench [FULL=1]               benchmarks; FULL for the long forms of all
#   make lint | types | docs | format | clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Twice quiet: errors only. Warnings tell of other package folders than ours.
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

# A stamp's name holds what the environment was made from: the folder (environments cannot be moved) and pyproject.toml.
HASH := $(shell (pwd; cat pyproject.toml) | cksum | cut -d' ' -f1)
CORE := $(VENV)/.core-$(HASH)
DEV  := $(VENV)/.dev-$(HASH)

# The oldest Django that is supported, in a folder beside the newest one.
OLD_DJANGO := $(VENV)/django-4.2
OLD        := $(VENV)/.old-django-$(HASH)

# Django 6 is for newer Pythons than ours may be: an environment of its own.
PYTHON6    ?= python3.12
NEW_DJANGO := $(VENV)/django-6
NEW        := $(VENV)/.new-django-$(HASH)

# Slow tests whose outcome may depend on Django's version; the other slow ones start processes and servers.
DJANGO_SLOW := $(addprefix tests/adapters/test_django_,origin.py checks.py celery.py shop.py list.py)

# Read from the environment by tests and services, passed on so that `make test CI=true` works as well.
export CI

PACKAGES := easyimg easyimg_django easyimg_flask
PYTEST   := $(BIN)/python -m pytest
WORKERS  ?= 2

.DEFAULT_GOAL := help
.PHONY: help env demo quick test on-services test-django6 on-django6 test-faults lint types imports format docs bench clean
# Steps of `make test` print in turn, and two installs into one environment would disturb each other.
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

env: $(DEV)

# Debian ships `venv` apart from python3; a half-made environment is thrown away.
$(CORE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "easyimg needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@rm -f $(VENV)/.core-* $(VENV)/.dev-* $(VENV)/.old-django-* $(VENV)/.new-django-*
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } \
	  || { echo "python3 has no venv module; on Debian: apt install python3-venv"; exit 1; }
	@echo "making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable .
	@touch $@

$(DEV): $(CORE)
	@echo "installing what the tests, checks and docs need"
	@$(PIP) install --editable '.[all]' --group test --group lint --group docs
	@touch $@

$(OLD): $(DEV)
	@echo "installing the oldest supported Django"
	@rm -rf $(OLD_DJANGO)
	@$(PIP) install --no-deps --target $(OLD_DJANGO) 'Django~=4.2.0'
	@touch $@

$(NEW):
	@$(PYTHON6) -c 'import sys; sys.exit(sys.version_info < (3, 12))' \
	  || { echo "Django 6 needs Python 3.12 or newer; say which with: make test-django6 PYTHON6=..."; exit 1; }
	@echo "making an environment with Django 6 in $(NEW_DJANGO)"
	@rm -rf $(NEW_DJANGO) && $(PYTHON6) -m venv $(NEW_DJANGO)
	@$(NEW_DJANGO)/bin/python -m pip --quiet --quiet install --upgrade 'pip>=25.1'
	@$(NEW_DJANGO)/bin/python -m pip --quiet --quiet install --editable '.[all]' --group test 'Django~=6.0'
	@touch $@

demo: $(CORE)
	$(BIN)/easyimg demo $(if $(PHOTOS),--photos '$(PHOTOS)') $(if $(ONCE),--once)

quick: $(DEV)
	$(PYTEST) -q -n $(WORKERS) -m "not services and not browser and not corpus and not slow"

test: $(OLD) lint types imports
	@$(BIN)/python tests/html/checker.py
	$(BIN)/python tests/services.py run -- $(MAKE) --no-print-directory on-services
	@$(MAKE) --no-print-directory docs

# The runs with the oldest Django leave out most of what is slow, and the browser.
on-services: OLD_PYTEST := TEST_DJANGO=4.2 PYTHONPATH=$(CURDIR)/$(OLD_DJANGO) $(PYTEST) -q -n $(WORKERS)
on-services:
	$(PYTEST) -n $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)
	$(OLD_PYTEST) tests/adapters -k django -m "not browser and not slow"
	$(OLD_PYTEST) $(DJANGO_SLOW) -m slow

test-django6: $(NEW)
	$(NEW_DJANGO)/bin/python tests/services.py run -- $(MAKE) --no-print-directory on-django6

on-django6: NEW_PYTEST := TEST_DJANGO=6 $(NEW_DJANGO)/bin/python -m pytest -q -n $(WORKERS)
on-django6:
	$(NEW_PYTEST) tests/adapters -k django -m "not browser and not slow"
	$(NEW_PYTEST) $(DJANGO_SLOW) -m slow

test-faults: $(DEV)
	@mkdir -p .artifacts
	$(BIN)/python -m tests.faults --jobs 3 --json .artifacts/faults.json --markdown .artifacts/faults.md $(FAULTS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV)
	$(BIN)/python -m sphinx -q -n -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

bench: $(DEV)
	@mkdir -p .artifacts
	$(BIN)/python -m tests.benchmarks.engine $(if $(FULL),--runs 25,--sources "6 MP" "24 MP" --runs 5) --json .artifacts/engine.json
	$(BIN)/python -m tests.benchmarks.build --child --avif $(if $(FULL),--runs 25,--sources "6 MP" --runs 9) --json .artifacts/build.json
	$(BIN)/python -m tests.benchmarks.widths $(if $(FULL),--runs 15,--sources "6 MP" --runs 5) --json .artifacts/widths.json
	$(BIN)/python -m tests.benchmarks.scaling $(if $(FULL),--builds 200 --rounds 5,--builds 60 --rounds 1) --json .artifacts/scaling.json
	$(BIN)/python -m tests.benchmarks.peak --json .artifacts/peak.json
	$(BIN)/python -m tests.benchmarks.probe --runs $(if $(FULL),500,50) --json .artifacts/probe.json
	$(BIN)/python -m tests.benchmarks.render --json .artifacts/render.json
	$(BIN)/python -m tests.benchmarks.django_page --json .artifacts/django_page.json
	$(BIN)/python -m tests.benchmarks.quality --json .artifacts/quality.json
	$(BIN)/python -m tests.benchmarks.effort --json .artifacts/effort.json
	$(BIN)/python -m tests.benchmarks.rows --json .artifacts/rows.json
	$(BIN)/python -m tests.benchmarks.latency --orders $(if $(FULL),200,30) --json .artifacts/latency.json
	$(BIN)/python -m tests.benchmarks.flask_page $(if $(FULL),,--rounds 3 --seconds 4 --load 0) --json .artifacts/flask.json
	$(BIN)/python -m tests.benchmarks.memory --builds $(if $(FULL),5000,500) --json .artifacts/memory.json

clean:
	rm -rf $(VENV) .demo .artifacts dist docs/_build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find $(PACKAGES) tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
