# `make run` and `make test` install what is missing.
.DEFAULT_GOAL := help
.PHONY: help image-test test-newest-python run test test-web test-other-python check format bench dist test-chaos test-deploy mutants docs docs-serve lock clean
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
WEB_SOURCES := $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f \( -name '*.ts' -o -name '*.tsx' -o -name '*.css' -o -name '*.html' -o -name '*.svg' -o -name '*.json' -o -name '*.js' \) -print 2>/dev/null)
ARGS ?=
# Most tests wait for servers, so 2 cores run 4 processes. Tests of one file share their servers: --dist loadfile.
TEST_PROCESSES ?= 4
# A part that runs beside another one prints its output at its end, in one piece (make 3.81 cannot).
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# Without compiled test modules each process of pytest compiles all of them again.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

run: .make/runtime .make/page ## Run API, gateway and worker in one process (ARGS="--one-port" etc.).
	@exec .venv/bin/roomcast up $(ARGS)

test: ## Run `check` and all tests except chaos runs.
	@$(MAKE) --no-print-directory -j 2 .make/page .make/node-peers .make/other-python
	@scripts/system-packages
	@$(MAKE) --no-print-directory -j 2 $(SYNC) check test-other-python test-web
	@echo '== python tests' && PATH="$$(scripts/node):$$PATH" $(PY) -m pytest -m 'not chaos' -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

test-web: .make/page
	@echo '== web tests' && scripts/npm run --silent test

# Some tests run make: these are no part of this one.
test-other-python: .make/other-python .make/node-peers .make/page
	@unset MAKEFLAGS && scripts/test-other-python

check: .make/dev .make/web ## Run linters, type checkers and the layer check; find dead code and stale generated files.
	@echo '== ruff' && .venv/bin/ruff check && .venv/bin/ruff format --check
	@echo '== mypy' && .venv/bin/mypy
	@echo '== layers' && .venv/bin/lint-imports
	@echo '== structure and events' && $(PY) -m pytest -q -p no:cacheprovider tests/unit/test_structure.py tests/unit/store/rules tests/unit/chat/delivery/test_encoding.py
	@echo '== web' && scripts/npm run --silent check

format: .make/dev .make/web ## Format the code and apply safe lint fixes.
	@.venv/bin/ruff format && .venv/bin/ruff check --fix && scripts/npm run --silent format

bench: .make/dev .make/page ## Run the benchmarks, compared with their peers.
	@scripts/system-packages
	@PATH="$$(scripts/node):$$PATH" $(PY) benchmarks/run.py $(ARGS)

# CI=true: a run that lacks a program fails instead of being skipped. -rP prints the figures of passed runs.
test-chaos: .make/dev .make/page .make/node-peers ## Run the long fault and soak tests.
	@scripts/system-packages
	@CI=true PATH="$$(scripts/node):$$PATH" $(PY) -m pytest -m chaos --timeout 1800 -rP $(ARGS)

test-deploy: .make/dev ## Check the Helm chart and the Kubernetes manifests with their own tools (needs Go).
	@scripts/test-deploy $(ARGS)

dist: .make/page ## Build the wheels, the sdist and the npm packages into dist/.
	@rm -rf dist && mkdir dist && .venv/bin/hatchling build --directory dist
	@cd packaging/realtime && ../../.venv/bin/hatchling build --target wheel --directory ../../dist
	@scripts/npm run --silent build:packages && scripts/npm pack --silent --pack-destination ../dist \
		--workspace @roomcast/client --workspace @roomcast/react

image-test: .make/dev ## Build the images with buildah, without a daemon, and run the services from them (root on Debian).
	@scripts/image-test

test-newest-python: .make/dev .make/page ## Install the wheel on Python 3.14 of Debian, and run the unit tests there (root on Debian).
	@scripts/test-newest-python

mutants: .make/dev ## Remove each guarantee from a copy of the code, and check that a test fails (ARGS="feed").
	@scripts/system-packages
	@$(PY) tests/mutants/run.py $(ARGS)

docs: .make/dev ## Build the documentation site into ./site.
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet $(ARGS) && echo 'roomcast: the site is in ./site: open site/index.html'

docs-serve: .make/dev ## Serve the documentation site on loopback, port 8008, and build it again after each change.
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --strict --dev-addr 127.0.0.1:8008 $(ARGS)

lock: ## Update the lock files (needs uv).
	@scripts/lock

clean: ## Remove everything that these commands created, except your data.
	@rm -rf .venv .make web/node_modules web/*/*/node_modules web/*/*/dist web/packages/*/LICENSE dist src/roomcast/api/page site \
		tests/integration/adapters/node/node_modules benchmarks/node/node_modules \
		tests/e2e/official/node_modules tests/e2e/official/dist

# Set-up. Each step runs once, and again when its inputs change.
# A .venv that works stays as it is: its packages may be in use.
.make/venv: scripts/python
	@mkdir -p .make && if $(PY) -c '' 2>/dev/null; \
		then echo "roomcast: .venv keeps $$($(PY) --version); after make clean, it has the fastest Python of this machine"; \
		else python=$$(scripts/python) && echo "roomcast: creating .venv with $$python" && "$$python" -m venv --clear .venv; \
		fi && touch $@

.make/runtime: .make/venv requirements.lock pyproject.toml
	@echo 'roomcast: installing the locked Python packages' && $(PIP) --require-hashes -r requirements.lock \
		&& $(PIP) --no-deps --no-build-isolation --editable . && touch $@

.make/dev: .make/runtime requirements-dev.lock requirements-redis-7.lock
	@echo 'roomcast: installing the locked development packages' && $(PIP) --require-hashes -r requirements-dev.lock \
		&& $(PIP) --require-hashes --no-deps --upgrade --target .make/redis-7 -r requirements-redis-7.lock && touch $@

.make/other-python: .make/venv requirements.lock requirements-dev.lock
	@scripts/test-other-python --install && touch $@

.make/web: .make/runtime web/package-lock.json
	@echo 'roomcast: installing the locked web packages' && scripts/npm ci --silent --no-fund --no-audit && touch $@

.make/page: .make/web $(WEB_SOURCES)
	@echo 'roomcast: building the chat page' && scripts/npm run --silent build && touch $@

.make/node-peers: .make/dev .make/web tests/integration/adapters/node/package-lock.json $(wildcard tests/e2e/official/*.*)
	@echo 'roomcast: installing the Node servers and clients for tests' && export PATH="$$(scripts/node):$$PATH" \
		&& npm --prefix tests/integration/adapters/node ci --silent --no-fund --no-audit \
		&& npm --prefix tests/e2e/official ci --silent --no-fund --no-audit \
		&& web/node_modules/.bin/vite build tests/e2e/official --base ./ --logLevel error && touch $@
