# Tandem. `make help` lists the targets; the settings are environment variables (README.md).
SHELL := /bin/sh
.DEFAULT_GOAL := help
PY := .venv/bin/python
WORKERS ?= 4

.PHONY: help run demo test test-fast check bench profile chaos chaos-mutants api llm-worker sync-worker clock dashboard redis llm-stub mailbox \
	images containers-test install install-dev lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## Start the whole platform on this machine; Ctrl-C stops it.
	@exec $(PY) -m tandem.deploy.local.run

demo: install ## Submit one job of each task type and show the results; starts a platform if none runs.
	@exec $(PY) -m tandem.deploy.local.demo

test: install-dev ## Run the whole test suite, WORKERS=4 side by side; it starts every server it needs. TWICE=1: see tests/twice.sh.
	@exec $(if $(TWICE),bash tests/twice.sh $(PY),$(PY) -m pytest) -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: install-dev ## Run what is quick, without workers and browsers: under a minute.
	@exec $(PY) -m pytest -n 3 --dist worksteal -m "not slow" $(ARGS)

check: install-dev ## Check style, types and the architecture: ruff, mypy --strict, import-linter.
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: install-dev ## Measure the platform beside its peers; ONLY=pickup,drain measures only that, QUICK=1 tries it out.
	@sh bench/peers.sh
	@exec $(PY) -m bench --only "$(ONLY)" $(if $(QUICK),--quick)

profile: install-dev ## Show where gateway and workers spend their time under load; ONLY=gateway,llm-calls as above.
	@sh bench/peers.sh
	@exec $(PY) -m bench.profile --only "$(ONLY)"

chaos: install-dev ## Kill, stop and cut off everything under load and check that nothing is lost; SEED=n JOBS=n WRITE=1.
	@exec $(PY) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(WRITE),--write)

images: ## Build every image with Debian's own tools (mmdebstrap, buildah, podman), as root; no registry is asked.
	@sh deploy/containers/images.sh

containers-test: install-dev images ## Start compose.yaml whole with these images; demo, rights, scaling, rolling restart.
	@CONTAINERS_TEST=1 $(PY) -m pytest -s tests/deploy/test_containers_running.py $(ARGS)

chaos-mutants: install-dev ## Break copies of the sources on purpose: the fault run must notice; ROTATE=3: only three, others each day.
	@exec $(PY) -m tests.chaos.mutants $(if $(ROTATE),--rotate $(ROTATE)) $(if $(ONLY),--only "$(ONLY)")

api: install ## One gateway process.
	@$(PY) -m tandem.deploy.local.files
	@exec $(PY) -m tandem.api

llm-worker: install ## One process of the asyncio pool (arq): LLM calls.
	@exec $(PY) -m tandem.llm_worker $(ARGS)

sync-worker: install ## One process of the forking pool (RQ): mail, PDF, maintenance.
	@$(PY) -m tandem.deploy.local.files
	@exec $(PY) -m tandem.sync_worker $(ARGS)

clock: install ## The clock: due retries, jobs of dead sync workers, schedules, webhooks.
	@exec $(PY) -m tandem.shared.maintenance

dashboard: install ## rq-dashboard, behind an admin key.
	@$(PY) -m tandem.deploy.local.files
	@exec $(PY) -m tandem.sync_worker.dashboard

redis: install ## The embedded Valkey, with an append-only file under RUN_DIR.
	@exec $(PY) -m tandem.deploy.local.redis

llm-stub: install ## A local OpenAI-compatible stand-in; ARGS are llmock's options.
	@exec $(PY) -m tandem.deploy.local.stub $(ARGS)

mailbox: install ## A mail server that keeps mails as files under RUN_DIR/outbox.
	@exec $(PY) -m tandem.deploy.local.mailbox

install: ## Make .venv with what the platform needs.
	@sh deploy/local/bootstrap.sh requirements.lock

install-dev: ## Make .venv with what tests and checks need as well.
	@sh deploy/local/bootstrap.sh requirements-dev.lock

lock: install-dev ## Pin all dependencies anew (requirements*.lock).
	@sh deploy/lock.sh

clean: ## Remove .venv and the caches; local data (RUN_DIR) stays.
	@rm -rf .venv .venv-containers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
