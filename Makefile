# paycore: each target does its own set-up; nothing is needed before but Python 3.11+ and make.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; \
	done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := paycore database command_service signing_service projector query_service operations deploy tests tools docs/examples

.PHONY: help
help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## Install the locked dependencies into .venv

$(READY): requirements/dev.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or later is needed"; exit 1; fi
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on \
		--require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $(READY)

.PHONY: demo
demo: $(READY) ## Start the local stack and watch 20,000 payments take the whole path
	@$(BIN)/paycore demo

.PHONY: up
up: $(READY) ## Run the local stack in the foreground until Ctrl-C (REPLICA=1 with a replica)
	@$(BIN)/paycore up $(if $(REPLICA),--replica)

.PHONY: test
test: $(READY) ## Run every test, on real PostgreSQL, Redis and Elasticsearch, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder $(ARGS)

.PHONY: check
check: $(READY) ## Format, lint, types, import rules, migrations, generated stubs
	@$(BIN)/python -m tools.check

.PHONY: format
format: $(READY) ## Format the code and mend what the linter can
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

.PHONY: protos
protos: $(READY) ## Generate the stubs from protos/
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tools.generate_stubs

.PHONY: schema
schema: $(READY) ## Write database/schema.sql, the whole that the migrations give
	@$(BIN)/python -m tools.dump_schema

.PHONY: metrics-page
metrics-page: $(READY) ## Write the tables of docs/metrics.md from the code and the alert rules
	@$(BIN)/python -m tools.metrics_page

.PHONY: lock
lock: $(READY) ## Pin the newest allowed dependencies, with hashes
	@$(BIN)/python -m pip install --quiet uv
	@for set in runtime dev; do $(BIN)/uv pip compile --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--quiet requirements/$$set.in --output-file requirements/$$set.txt; done

.PHONY: crash
crash: $(READY) ## Every fault of every part under load, in ROUNDS (default 4) of 55 crashes and 130,000 PAYMENTS, of SEED, pauses up to LONGEST (6) s; SAVE=1 also docs/proof/crash.md
	@PAYCORE_CRASH_ROUNDS=$(or $(ROUNDS),4) $(if $(SEED),PAYCORE_TEST_SEED=$(SEED)) \
		$(if $(LONGEST),PAYCORE_CRASH_LONGEST_S=$(LONGEST)) \
		$(if $(PAYMENTS),PAYCORE_CRASH_PAYMENTS=$(PAYMENTS)) \
		$(if $(SAVE),PAYCORE_CRASH_SAVE=1) \
		$(BIN)/python -m pytest -s tests/crash/test_faults.py $(ARGS)

.PHONY: project
project: $(READY) ## EVENTS (default 1000000) through a projector that is killed KILLS times (50)
	@PAYCORE_PROJECT_EVENTS=$(or $(EVENTS),1000000) PAYCORE_PROJECT_KILLS=$(or $(KILLS),50) \
		$(BIN)/python -m pytest -s tests/crash/test_projector.py $(ARGS)

.PHONY: own-writes
own-writes: $(READY) ## WRITES (default 10000), each followed by reads with its position
	@PAYCORE_OWN_WRITES=$(or $(WRITES),10000) $(BIN)/python -m pytest -s \
		tests/crash/test_own_writes.py $(ARGS)

.PHONY: many
many: $(READY) ## 50 callers at once on 1,000 accounts, PAYMENTS in all (default 20000)
	@PAYCORE_MANY_PAYMENTS=$(or $(PAYMENTS),20000) $(BIN)/python -m pytest tests/crash/test_many_at_once.py $(ARGS)

.PHONY: judged
judged: $(READY) ## PAYMENTS (default 20000) judged by rules, far more than are remembered at once
	@PAYCORE_JUDGED_PAYMENTS=$(or $(PAYMENTS),20000) $(BIN)/python -m pytest -s \
		tests/integration/command_service/risk/test_under_way.py -k "room_for_at_once" $(ARGS)

.PHONY: away
away: $(READY) ## Pay while Redis is down for SECONDS (default 60), and late and emptied for a minute at most
	@PAYCORE_AWAY_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -s tests/contract/test_redis_away.py $(ARGS)

.PHONY: properties
properties: $(READY) ## Random programs against independent models, EXAMPLES each (default 5000)
	@PAYCORE_EXAMPLES=$(or $(EXAMPLES),5000) $(BIN)/python -m pytest \
		tests/unit/domain tests/unit/command_service tests/unit/runtime \
		tests/integration/command_service/test_programs.py tests/contract/test_programs.py $(ARGS)

.PHONY: mutations
mutations: $(READY) ## Altered proofs, payments, authorizations, ROUNDS in all (default 100000)
	@PAYCORE_MUTATIONS=$(or $(ROUNDS),100000) $(BIN)/python -m pytest \
		tests/integration/signing/test_mutations.py --timeout 3600 $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure, print a table, write JSON (SAVE=1 also docs/performance.md)
	@$(BIN)/python -m tests.bench $(if $(SAVE),--save) $(ARGS)

.PHONY: ghz
ghz: $(READY) ## NAMES of configurations (default all) of deploy/ghz by ghz, CALLS each, on the stack of `make up`
	@$(BIN)/python -m tools.generate_stubs --descriptors .build/paycore.binpb
	@$(BIN)/python -m deploy.ghz $(if $(CALLS),--calls $(CALLS)) $(NAMES) $(ARGS)

.PHONY: approvals
approvals: $(READY) ## Approvals a second by device and by PIN, beside argon2id alone
	@$(BIN)/python -m tests.bench.signing $(ARGS)

.PHONY: enforcement
enforcement: $(READY) ## What it costs that only transfers change balances, ROUNDS (default 5)
	@$(BIN)/python -m tests.bench.enforcement --rounds $(or $(ROUNDS),5) $(ARGS)

.PHONY: keys
keys: $(READY) ## Idempotency keys as they grow to ROWS (default 20000000), by layout; SAVE=1 as bench
	@$(BIN)/python -m tests.bench.keys --rows $(or $(ROWS),20000000) $(if $(SAVE),--save) $(ARGS)

.PHONY: sealing
sealing: $(READY) ## What it costs to seal personal data, over ROUNDS (default 20) of bulk
	@$(BIN)/python -m tests.bench.sealing --rounds $(or $(ROUNDS),20) $(ARGS)

.PHONY: memory
memory: $(READY) ## Watch a command process's memory over TRANSFERS (default 1000000)
	@$(BIN)/python -m tests.bench --only memory --alone --memory $(or $(TRANSFERS),1000000) $(ARGS)

.PHONY: limits-bench
limits-bench: $(READY) ## What limits cost a call, over CALLS (default 20000)
	@$(BIN)/python -m tests.bench.limits --calls $(or $(CALLS),20000) $(ARGS)

.PHONY: metrics-bench
metrics-bench: $(READY) ## What metrics cost a payment, over PAIRS (default 12) of rounds on and off
	@$(BIN)/python -m tests.bench.metrics --pairs $(or $(PAIRS),12) $(ARGS)

.PHONY: trail-bench
trail-bench: $(READY) ## What a refused call costs in security events
	@$(BIN)/python -m tests.bench.trail

.PHONY: verify-bench
verify-bench: $(READY) ## How fast verification of TRANSFERS (default 1000000) is
	@$(BIN)/python -m tests.bench.verification --transfers $(or $(TRANSFERS),1000000) $(ARGS)

.PHONY: chain-bench
chain-bench: $(READY) ## How fast TRANSFERS (default 200000) are sealed, and their chain followed
	@$(BIN)/python -m tests.bench.chain --transfers $(or $(TRANSFERS),200000) $(ARGS)

.PHONY: stream-bench
stream-bench: $(READY) ## What an event of the stream costs and takes up, over TRANSFERS (default 100000)
	@$(BIN)/python -m tests.bench.stream --transfers $(or $(TRANSFERS),100000) $(ARGS)

.PHONY: analytics-bench
analytics-bench: $(READY) ## How fast analytics over TRANSFERS (default 200000) are, by way of asking
	@$(BIN)/python -m tests.bench.analytics --transfers $(or $(TRANSFERS),200000) $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## CALLS random calls of every method (default 100000), of SEED; SAVE=1 also docs/proof/fuzz.md
	@PAYCORE_FUZZ_CALLS=$(or $(CALLS),100000) $(if $(SEED),PAYCORE_TEST_SEED=$(SEED)) \
		$(if $(SAVE),PAYCORE_FUZZ_SAVE=1) \
		$(BIN)/python -m pytest -s tests/crash/test_fuzz.py $(ARGS)

.PHONY: soak
soak: $(READY) ## A day's mix of calls for MINUTES (default 60), RATE a second (25), of SEED; SAVE=1 also docs/proof/soak.md
	@PAYCORE_SOAK_SECONDS=$$(( $(or $(MINUTES),60) * 60 )) PAYCORE_SOAK_RATE=$(or $(RATE),25) \
		$(if $(SEED),PAYCORE_TEST_SEED=$(SEED)) $(if $(SAVE),PAYCORE_SOAK_SAVE=1) \
		$(BIN)/python -m pytest -s tests/soak/test_soak.py $(ARGS)

.PHONY: open-loop
open-loop: $(READY) ## The highest constant rate of payments with p99 < 100 ms, STEP (default 10) s each; SAVE=1 also docs/proof/load.md
	@PAYCORE_OPEN_LOOP_STEP_S=$(or $(STEP),10) PAYCORE_OPEN_LOOP_FIRST=$(or $(FIRST),20) \
		PAYCORE_OPEN_LOOP_MOST=$(or $(MOST),5000) \
		$(if $(SEED),PAYCORE_TEST_SEED=$(SEED)) $(if $(SAVE),PAYCORE_OPEN_LOOP_SAVE=1) \
		$(BIN)/python -m pytest -s tests/soak/test_open_loop.py $(ARGS)

.PHONY: overload
overload: $(READY) ## Ten times the usual RATE (default 40 calls/s) for SECONDS (60); SAVE=1 also docs/proof/load.md
	@PAYCORE_OVERLOAD_SECONDS=$(or $(SECONDS),60) PAYCORE_OVERLOAD_RATE=$(or $(RATE),40) \
		$(if $(SEED),PAYCORE_TEST_SEED=$(SEED)) $(if $(SAVE),PAYCORE_OVERLOAD_SAVE=1) \
		$(BIN)/python -m pytest -s tests/soak/test_overload.py $(ARGS)

.PHONY: teeth
teeth: $(READY) ## Plant bugs (BUGS=name,... or all) in copies; named tests catch each; SAVE=1 also docs/proof/teeth.md
	@$(BIN)/python -m tests.teeth $(if $(BUGS),--bugs $(BUGS)) $(if $(SAVE),--save) $(ARGS)

.PHONY: mutants
mutants: $(READY) ## Make every small change of PART (domain, posting, engine; default the first two); tests see each; SAVE=1 also docs/proof/mutants.md
	@$(BIN)/python -m tests.mutants $(if $(PART),--part $(PART)) $(if $(SAVE),--save) $(ARGS)

.PHONY: clean
clean: ## Remove .venv and build products (not the state in .paycore)
	@rm -rf $(VENV) .build .mypy_cache .ruff_cache .pytest_cache .hypothesis
