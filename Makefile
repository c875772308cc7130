# Thin: each target makes the environment if need be, then is one `pai-bench` call.
# Variables pass straight through, e.g. make reproduce PAPER=ntk-sap SUITE=mnist JOBS=2

PYTHON ?= python3
VENV   ?= .venv
XLA_VENV ?= .venv-xla
BIN    := $(VENV)/bin
BENCH  := $(BIN)/pai-bench

# $(call flag,VARIABLE,--option): the option with its value when the variable is set.
flag   = $(if $($(1)),$(2) "$($(1))")
COMMON = $(call flag,CONFIG,--config) $(call flag,RUNS,--runs) $(call flag,PLUGIN,--plugin)
READ   = $(COMMON) $(if $(EVIDENCE),--evidence)
CHOICE = $(call flag,METHODS,--methods) $(call flag,DENSITIES,--densities) \
         $(call flag,SEEDS,--seeds) $(call flag,PRECISION,--precision) \
         $(call flag,NETWORK,--network) $(call flag,DATA,--data) $(call flag,SET,--set) \
         $(call flag,VALIDATION,--validation) $(call flag,SANITY_CHECK,--sanity-check) \
         $(call flag,ABLATION,--sanity-check)
HOW    = $(call flag,JOBS,--jobs) $(call flag,ACCELERATOR,--accelerator) \
         $(call flag,DEVICES,--devices) $(call flag,STRATEGY,--strategy) \
         $(call flag,NODES,--nodes) $(call flag,ACCUMULATE,--accumulate) \
         $(call flag,LAUNCHER,--launcher) $(call flag,LAUNCHER_OPTION,--launcher-option) \
         $(call flag,STACK,--stack) $(call flag,KERNELS,--kernels) $(call flag,BUDGET,--budget) \
         $(call flag,WANDB,--wandb) $(if $(RETRY_FAILED),--retry-failed)

.PHONY: help install reproduce run gpu-evidence account spectrum replay plan status watch merge leaderboard compare export plot claims verify evidence-report methods new-method check networks datasets show data doctor bench test test-slow test-processors test-xla fuzz docs lint clean

help: ## show this
	@echo "make TARGET [VARIABLE=value ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "variables: PAPER SUITE METHODS DENSITIES SEEDS JOBS ACCELERATOR DEVICES STRATEGY NODES ACCUMULATE STACK KERNELS BUDGET PRECISION"
	@echo "           LAUNCHER=slurm LAUNCHER_OPTION=minutes=30"
	@echo "           NETWORK DATA SET=key=value VALIDATION=0.1 SANITY_CHECK=layerwise-shuffle RERUN N SEED"
	@echo "           WANDB PLUGIN RETRY_FAILED=1 CONFIG RUNS EVIDENCE=1 DATASET FOLDERS INTO PREFER PROGRAMS REPLICAS STEPS CELL NAME METHOD AGAINST FORMAT"
	@echo "           OUTPUT KIND COLUMNS LAYER PYTHON VENV"

# The stamp is newer than what it was made from: a second call costs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: $(PYTHON) is older than Python 3.10; set PYTHON=python3.11, say" >&2; exit 2; }
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[test,lint]"
	@touch $@

install: $(VENV)/.installed ## make the environment in .venv

reproduce: $(VENV)/.installed ## re-run a paper: PAPER=ntk-sap [SUITE=quick]
	@test -n "$(PAPER)" || { echo "make reproduce needs PAPER=..., e.g. PAPER=ntk-sap" >&2; exit 2; }
	@$(BENCH) reproduce $(PAPER) $(call flag,SUITE,--suite) $(COMMON) $(CHOICE) $(HOW)

run: $(VENV)/.installed ## run a suite: SUITE=quick [METHODS=snip,random]
	@test -n "$(SUITE)" || { echo "make run needs SUITE=..., e.g. SUITE=quick" >&2; exit 2; }
	@$(BENCH) run $(SUITE) $(COMMON) $(CHOICE) $(HOW)

gpu-evidence: $(VENV)/.installed ## evidence for claims on CIFAR-10, on a GPU: [BUDGET=9m] [SET=length=0.01]
	@$(BENCH) campaign gpu --wandb disabled --accelerator $(or $(ACCELERATOR),gpu) $(COMMON) \
	  $(call flag,BUDGET,--budget) $(call flag,SET,--set) $(call flag,STACK,--stack)

account: $(VENV)/.installed ## FLOPs of a suite's cells, counted without training: SUITE=rigl-imagenet
	@test -n "$(SUITE)" || { echo "make account needs SUITE=..., e.g. SUITE=rigl-imagenet" >&2; exit 2; }
	@$(BENCH) account $(SUITE) $(COMMON) $(CHOICE)

spectrum: $(VENV)/.installed ## tangent kernels' spectra, untrained: SUITE=ntk-sap-cifar10 [DENSITIES=0.262144]
	@test -n "$(SUITE)" || { echo "make spectrum needs SUITE=..., e.g. SUITE=ntk-sap-cifar10" >&2; exit 2; }
	@$(BENCH) spectrum $(SUITE) $(COMMON) $(CHOICE)

replay: $(VENV)/.installed ## run programs of a paper's authors again: PAPER=ntt [STEPS=100]
	@test -n "$(PAPER)" || { echo "make replay needs PAPER=..., e.g. PAPER=ntt" >&2; exit 2; }
	@$(BENCH) replay $(PAPER) $(COMMON) $(call flag,PROGRAMS,--programs) \
	  $(call flag,REPLICAS,--replicas) $(call flag,STEPS,--steps)

plan: $(VENV)/.installed ## what would run and what it would cost: [PAPER=] [SUITE=]
	@$(BENCH) plan $(SUITE) $(call flag,PAPER,--paper) $(COMMON) $(CHOICE) $(HOW)

leaderboard: $(VENV)/.installed ## rebuild tables and pages from stored results: [SUITE=] [EVIDENCE=1] [WANDB=auto]
	@$(BENCH) leaderboard $(call flag,SUITE,--suite) $(READ) $(call flag,WANDB,--wandb)

compare: $(VENV)/.installed ## two methods, paired by seed: METHOD=ntk-sap AGAINST=snip [SUITE=]
	@test -n "$(METHOD)" -a -n "$(AGAINST)" || { echo "make compare needs METHOD=... AGAINST=..., e.g. METHOD=ntk-sap AGAINST=snip" >&2; exit 2; }
	@$(BENCH) compare "$(METHOD)" "$(AGAINST)" $(call flag,SUITE,--suite) $(READ)

export: $(VENV)/.installed ## a leaderboard as a file: SUITE=mnist FORMAT=csv|parquet|latex|markdown [OUTPUT=]
	@test -n "$(SUITE)" || { echo "make export needs SUITE=..., e.g. SUITE=quick FORMAT=latex" >&2; exit 2; }
	@$(BENCH) export $(SUITE) $(call flag,FORMAT,--format) $(call flag,OUTPUT,--output) $(READ)

plot: $(VENV)/.installed ## a figure for a paper: SUITE=mnist OUTPUT=ranks.pdf [KIND=ranks] [COLUMNS=2] [LAYER=]
	@test -n "$(SUITE)" -a -n "$(OUTPUT)" || { echo "make plot needs SUITE=... OUTPUT=..., e.g. SUITE=quick OUTPUT=accuracy.pdf" >&2; exit 2; }
	@$(BENCH) plot $(SUITE) --output "$(OUTPUT)" $(call flag,KIND,--kind) $(call flag,COLUMNS,--columns) \
	  $(call flag,METHODS,--methods) $(call flag,DENSITIES,--densities) $(call flag,LAYER,--layer) $(READ)

claims: $(VENV)/.installed ## what papers claim and what became of it here: [PAPER=ntk-sap]
	@$(BENCH) claims $(PAPER) $(READ)

verify: $(VENV)/.installed ## are results what was written? [RUNS=] [RERUN=9] trains 9 again
	@$(BENCH) verify $(call flag,RERUN,--rerun) $(call flag,JOBS,--jobs) $(COMMON)

status: $(VENV)/.installed ## what runs where, and what is done: [RUNS=]
	@$(BENCH) status $(COMMON)

watch: $(VENV)/.installed ## follow what is trained, here or on other hosts: [RUNS=]
	@$(BENCH) watch $(COMMON)

merge: $(VENV)/.installed ## join folders of results: FOLDERS="a b" [INTO=runs] [PREFER=a]
	@test -n "$(FOLDERS)" || { echo "make merge needs FOLDERS=..., e.g. FOLDERS=\"runs-a runs-b\" INTO=runs" >&2; exit 2; }
	@$(BENCH) merge $(FOLDERS) $(call flag,INTO,--into) $(call flag,PREFER,--prefer)

evidence-report: $(VENV)/.installed ## write READMEs and leaderboard anew from the evidence: [PAPER=]
	@$(BENCH) evidence-report $(PAPER) $(COMMON)

methods: $(VENV)/.installed ## list methods and what they declare
	@$(BENCH) methods $(COMMON)

new-method: $(VENV)/.installed ## write a method to start from: NAME=my-method
	@test -n "$(NAME)" || { echo "make new-method needs NAME=..., e.g. NAME=my-method" >&2; exit 2; }
	@$(BENCH) new-method $(NAME)

check: $(VENV)/.installed ## hold a method to the rules: METHOD=my-method [PLUGIN=my_method.py]
	@test -n "$(METHOD)" || { echo "make check needs METHOD=..., e.g. METHOD=snip" >&2; exit 2; }
	@$(BENCH) check $(METHOD) $(COMMON)

networks: $(VENV)/.installed ## list networks: sizes, FLOPs, papers
	@$(BENCH) networks $(COMMON)

datasets: $(VENV)/.installed ## list data sets: source, digest, ready or not
	@$(BENCH) datasets $(COMMON)

show: $(VENV)/.installed ## everything about one result: CELL=id
	@test -n "$(CELL)" || { echo "make show needs CELL=..., an id or the start of one" >&2; exit 2; }
	@$(BENCH) show $(CELL) $(READ)

data: $(VENV)/.installed ## fetch and verify data sets: [DATASET=mnist]
	@$(BENCH) data $(DATASET) $(COMMON)

doctor: $(VENV)/.installed ## is this machine ready?
	@$(BENCH) doctor $(COMMON)

bench: $(VENV)/.installed ## measure our training path, as ratios in one run
	@$(BENCH) bench $(COMMON) $(call flag,ACCELERATOR,--accelerator)

test: $(VENV)/.installed ## run the tests, one process a core, but for slow ones
	@$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 --dist worksteal

test-slow: $(VENV)/.installed ## run the slow ones: kills, clusters, wheels, large networks
	@$(BIN)/python -m pytest -m slow -n auto --maxprocesses 8 --dist worksteal

test-processors: $(VENV)/.installed ## the same bits on emulated processors of other vendors (needs qemu-user)
	@$(BIN)/python -m pytest -m emulated tests/core/test_processors.py -n auto --maxprocesses 2

# XLA's own PyTorch; what else there is, is as in $(VENV). PyTorch's wheel brings CUDA: 8 GB in all.
$(XLA_VENV)/.installed: pyproject.toml constraints.txt tests/xla/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "make: test-xla needs Python 3.11 to 3.13; set PYTHON=python3.11, say" >&2; exit 2; }
	@echo "installing PyTorch and XLA into $(XLA_VENV) (once; 8 GB, a few minutes)"
	@$(PYTHON) -m venv $(XLA_VENV)
	@grep -v '^torch==' constraints.txt | cat - tests/xla/constraints.txt > $(XLA_VENV)/constraints.txt
	@$(XLA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(XLA_VENV)/constraints.txt --editable ".[test,xla]"
	@touch $@

# Most of the time is spent on compiling: unoptimised, it takes a third.
test-xla: $(XLA_VENV)/.installed ## train on XLA's CPU device, in an environment of its own
	@PJRT_DEVICE=CPU XLA_FLAGS=--xla_backend_optimization_level=0 \
	  $(XLA_VENV)/bin/python -m pytest -m xla tests/xla

fuzz: $(VENV)/.installed ## malformed input, more than the tests try: [N=2000] [SEED=1]
	@PAI_BENCH_FUZZ_INPUTS=$(or $(N),2000) PAI_BENCH_FUZZ_SEED=$(or $(SEED),1) \
	  $(BIN)/python -m pytest tests/fuzz -n auto --maxprocesses 4

$(VENV)/.docs: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[docs]"
	@touch $@

docs: $(VENV)/.docs ## build the documentation: docs/site/index.html
	@$(BIN)/python docs/generate.py
	@cd docs && PATH="$(abspath $(BIN)):$$PATH" zensical build --clean

lint: $(VENV)/.installed ## style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean: ## remove the environments and caches; results (runs/) stay
	rm -rf $(VENV) $(XLA_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
