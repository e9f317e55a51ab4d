# Each target sets up what it needs: a virtual environment in .venv with the pinned packages. GPU=1 takes those for
# NVIDIA GPUs, in .venv-cuda.
PYTHON ?= python3
VENV := .venv$(if $(GPU),-cuda)
BIN := $(VENV)/bin
SHORT := $(filter short,$(BENCH))
RESULTS := $(if $(SHORT),build/bench,benchmarks/results)
OTHERS := $(if $(SHORT),$(patsubst .venv-%/installed,%,$(wildcard .venv-jax/installed .venv-torch/installed)),jax torch)
speed = $(1)/bin/python -m benchmarks.training_speed --out $(RESULTS)/training.jsonl --torch_python .venv-torch/bin/python --contenders
SPEED := $(call speed,$(VENV))
# Each test process has a core, so more threads would only get in each other's way.
PYTEST := TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo smoke test coverage test-kernels test-distribute test-ray test-hub mutation lint docs dist bench clean
.PHONY: $(foreach backend,jax torch,test-$(backend) numbers-$(backend) alone-$(backend))

# A module is compiled when it is first imported: to compile all of them would be half of an installation.
unexport PYTHONDONTWRITEBYTECODE

define set_up
	@echo "Setting up $(@D) with $$($(PYTHON) --version) and the packages of $< ..."
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
endef

.venv/installed: requirements.txt
	$(set_up)

.venv-%/installed: requirements-%.txt
	$(set_up)

.PRECIOUS: .venv-%/installed

demo: $(VENV)/installed
	@echo "Training ResNet-14 on handwritten digits: the baseline and the three units, about two minutes ..."
	$(BIN)/python train_cifar.py --config configs/digits.yaml

# On another Python: make PYTHON=python3.13 smoke, in a clone of its own.
smoke: $(VENV)/installed
	@echo "Training one unit on handwritten digits and testing the layer, about a minute on 2 cores ..."
	$(BIN)/python train_cifar.py --config configs/digits.yaml --model.unit relu-ic-conv
	$(PYTEST) tests/iclayer/test_layer.py tests/iclayer/fused

# Coverage takes a third longer.
test coverage: $(VENV)/installed
	@echo "Running the tests, about ten minutes on 2 cores, more on older ones ..."
	$(PYTEST) --nbmake --ignore tests/iclayer/insert/test_insert_hub.py \
		$(addprefix --ignore tests/training/,devices/test_distribute.py launch/test_ray.py) \
		$(if $(filter coverage,$@),--cov=iclayer --cov=models --cov=training --cov=reporting)

# Without networks that take long and are made of the same layers as others.
FEWER := not other_families and not ordering and not EfficientNet and not VGG and not MobileNet

# oneDNN's kernels are on in `make test`, on x86; users of the layer in a program of their own may have either.
test-kernels: $(VENV)/installed
	@echo "Testing all that touches kernels without oneDNN, one to two minutes on 2 cores ..."
	TF_ENABLE_ONEDNN_OPTS=0 $(PYTEST) tests/models tests/iclayer/fused $(addprefix tests/iclayer/, \
		test_layer.py test_diagnostics.py insert/test_insert.py) -k "$(FEWER)" -m "not usefixtures"

# SHORT="distribute ray torch", here and below, leaves out of these what kills runs, and more that takes long.
test-distribute: $(VENV)/installed
	@echo "Training on several replicas and workers, and killing workers, about five minutes on 2 cores, SHORT one ..."
	$(BIN)/python -m pytest tests/training/devices/test_distribute.py $(if $(filter distribute,$(SHORT)),-m "not slow")

# Into the same environment, for Ray needs little beside what is there.
test-ray: $(VENV)/installed
	@echo "Launching runs on Ray, and killing a process and a node, about three minutes on 2 cores, SHORT two ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt
	$(BIN)/python -m pytest tests/training/launch/test_ray.py $(if $(filter ray,$(SHORT)),-m "not slow")

# Without the rest that KerasHub asks for: TensorFlow Text, which brings a second TensorFlow, and what downloads.
test-hub: $(VENV)/installed
	@echo "Inserting ICs into networks of KerasHub, about a minute on 2 cores ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-hub.txt
	$(BIN)/python -m pytest tests/iclayer/insert/test_insert_hub.py

# On each backend: its numbers against TensorFlow's, and runs where there is no TensorFlow.
test-jax test-torch: test-%: numbers-% alone-%

numbers-jax: export JAX_PYTHON = .venv-jax/bin/python
numbers-torch: export TORCH_PYTHON = .venv-torch/bin/python
numbers-jax numbers-torch: numbers-%: $(VENV)/installed .venv-%/installed
	@echo "Comparing the networks and their training with TensorFlow's ..."
	$(BIN)/python -m pytest tests/training/devices/test_backends.py -n 2 -k "$*$(if $(filter $*,$(SHORT)), and losses)"

# What one process has compiled is there for the next, as after a kill.
alone-jax: export JAX_COMPILATION_CACHE_DIR = $(abspath build/jax)
alone-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0.1
alone-jax alone-torch: LAYER = test_layer or test_contract or test_uout or test_families or test_$*
alone-jax alone-torch: alone-%: .venv-%/installed
	@echo "The layer, and training, killing and resuming, insert_ic and diagnose without TensorFlow ..."
	KERAS_BACKEND=$* OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest tests/iclayer/test_layer.py tests/iclayer/fused \
		tests/models/test_families.py $(if $(filter $*,$(SHORT)),tests/models tests/training/test_train.py -k "$(LAYER) or plain",tests/training/test_resume.py \
		tests/training/devices/test_threads.py \
		tests/iclayer/insert/test_insert.py $(addprefix tests/iclayer/test_,diagnostics.py shift.py keras_contract.py) \
		-k "($(LAYER) or kills or dense or planted or shift or contract or threads) and $(FEWER)")

# In a copy, for it breaks the code; after an interruption it goes on. In the end it shows what no test has noticed.
mutation: COPY := build/mutation-$(shell git rev-parse --short HEAD)
mutation: $(VENV)/installed
	@echo "Breaking 200 places of the code, one at a time, and testing each, about 50 minutes on one core ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt cosmic-ray==8.7.0
	test -d $(COPY) || git clone --quiet . $(COPY)
	cd $(COPY) && git checkout --quiet . && CI=1 PYTHONDONTWRITEBYTECODE=1 TF_NUM_INTRAOP_THREADS=1 \
		TF_ENABLE_ONEDNN_OPTS=1 $(abspath $(BIN))/python tests/mutation.py mutation.sqlite

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without --quiet, with which no warning counts, and so none would end it.
docs: .venv-docs/installed
	@echo "Building the site into build/site; a dead link, a page that is missing or a name that is unknown ends it ..."
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

dist: .venv-docs/installed
	@echo "Building the wheel and the sdist into dist ..."
	rm -rf dist
	.venv-docs/bin/python -m build
	.venv-docs/bin/twine check --strict dist/*

# DATA_DIR: of the prepared imagenet2012; without it the photographs are scikit-learn's.
# BENCH=short: each benchmark on small settings, to see that all run; JAX and PyTorch only where they are there already.
bench: $(VENV)/installed $(OTHERS:%=.venv-%/installed)
	@echo "Measuring into $(RESULTS), about $(if $(SHORT),four,75) minutes; leave the machine alone ..."
	mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks.checkpoint_cost
	$(BIN)/python -m benchmarks.input_pipeline
	$(BIN)/python -m benchmarks.photographs --out $(RESULTS)/photographs.json $(if $(DATA_DIR),--data_dir $(DATA_DIR))
	$(BIN)/python -m benchmarks.side_by_side --out $(RESULTS)/side_by_side.json
	rm -f $(RESULTS)/layers.jsonl $(RESULTS)/training.jsonl
	for onednn in 0 1; do \
		TF_ENABLE_ONEDNN_OPTS=$$onednn $(BIN)/python -m benchmarks.layer_speed --out $(RESULTS)/layers.jsonl || exit 1; done
	for backend in $(OTHERS); do \
		KERAS_BACKEND=$$backend .venv-$$backend/bin/python -m benchmarks.layer_speed --out $(RESULTS)/layers.jsonl || exit 1; done
	$(BIN)/python -m benchmarks.whitening --out $(RESULTS)
ifdef SHORT
	$(SPEED) tensorflow --start_up
	$(SPEED) tensorflow:off stock baseline floor xla calls-of-10 $(if $(wildcard .venv-torch/installed),torch-eager)
	for backend in $(OTHERS); do \
		$(call speed,.venv-$$backend) $$backend stock@$$backend || exit 1; done
	$(BIN)/python -m benchmarks.kill_and_resume
else
	$(SPEED) tensorflow stock --depth 110 --start_up
	$(SPEED) tensorflow stock baseline floor torch-eager --depth 110 --steps 4
	$(SPEED) tensorflow stock torch-eager --depth 110 --steps 4 --precision mixed_bfloat16
	$(SPEED) tensorflow stock baseline --depth 56 --steps 8
	$(SPEED) tensorflow stock baseline floor torch-eager torch-compile --depth 20 --steps 20 --rounds 7
	$(SPEED) tensorflow:on tensorflow:off stock:on stock:off torch-eager --depth 20 --steps 20
	$(SPEED) tensorflow stock torch-eager --depth 20 --steps 20 --precision mixed_bfloat16
	$(SPEED) tensorflow stock baseline --depth 20 --steps 40 --batch 32
	$(SPEED) tensorflow stock baseline --depth 20 --steps 10 --batch 128
	$(SPEED) tensorflow stock baseline --depth 20 --steps 5 --batch 256
	$(SPEED) tensorflow stock baseline torch-eager --depth 20 --steps 10 --threads 1
	$(SPEED) tensorflow xla calls-of-10 --depth 20 --steps 20
	$(call speed,.venv-jax) jax stock@jax baseline@jax --depth 20 --steps 20 --rounds 7
	$(call speed,.venv-torch) torch stock@torch baseline@torch torch-eager --depth 20 --steps 20 --rounds 7
endif
	$(BIN)/python -m benchmarks.table $(RESULTS)

clean:
	rm -rf .venv .venv-*
