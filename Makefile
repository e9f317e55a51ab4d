# Each target sets up what it needs: a virtual environment in .venv with the pinned packages.
PYTHON ?= python3
BIN := .venv/bin
SPEED := $(BIN)/python benchmarks/training_speed.py --out benchmarks/results/training.jsonl --torch_python .venv-torch/bin/python

.PHONY: demo test coverage test-distribute lint bench clean
.PHONY: $(foreach backend,jax torch,test-$(backend) numbers-$(backend) alone-$(backend))

.venv/installed: requirements.txt
	@echo "Setting up .venv with $$($(PYTHON) --version) and the packages of requirements.txt ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv-%/installed: requirements-%.txt
	@echo "Setting up .venv-$* with the packages of $<, without TensorFlow ..."
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PRECIOUS: .venv-%/installed

demo: .venv/installed
	@echo "Training ResNet-14 on handwritten digits: the baseline and the three units, about two minutes ..."
	$(BIN)/python train_cifar.py --config configs/digits.yaml

# Coverage takes a third longer.
test coverage: .venv/installed
	@echo "Running the tests, about five minutes on 2 cores ..."
	$(BIN)/python -m pytest --nbmake -n 2 --dist loadfile --ignore tests/test_distribute.py \
		$(if $(filter coverage,$@),--cov=iclayer --cov=models --cov=training)

test-distribute: .venv/installed
	@echo "Training on several replicas and workers, and killing workers, about five minutes on 2 cores ..."
	$(BIN)/python -m pytest tests/test_distribute.py

# On each backend: its numbers against TensorFlow's, and runs where there is no TensorFlow.
test-jax test-torch: test-%: numbers-% alone-%

numbers-jax numbers-torch: numbers-%: .venv/installed
	@echo "Comparing the networks and their training with TensorFlow's ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-$*.txt $*
	$(BIN)/python -m pytest tests/test_backends.py -n 2 -k $*

alone-jax alone-torch: alone-%: .venv-%/installed
	@echo "Training, killing and resuming, insert_ic and diagnose without TensorFlow ..."
	KERAS_BACKEND=$* .venv-$*/bin/python -m pytest tests/test_resume.py tests/test_insert.py tests/test_diagnostics.py \
		-k "kills or dense or planted"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# DATA_DIR: of the prepared imagenet2012; without it the photographs are scikit-learn's.
bench: .venv/installed .venv-torch/installed
	@echo "Measuring into benchmarks/results, about 40 minutes; leave the machine alone ..."
	$(BIN)/python benchmarks/checkpoint_cost.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/photographs.py --out benchmarks/results/photographs.json $(if $(DATA_DIR),--data_dir $(DATA_DIR))
	$(BIN)/python benchmarks/layer_speed.py --out benchmarks/results/layers.json
	$(BIN)/python benchmarks/whitening.py --out benchmarks/results
	rm -f benchmarks/results/training.jsonl
	$(SPEED) --contenders tensorflow stock --depth 110 --start_up
	$(SPEED) --contenders tensorflow stock baseline floor torch-eager --depth 110 --steps 4
	$(SPEED) --contenders tensorflow stock torch-eager --depth 110 --steps 4 --precision mixed_bfloat16
	$(SPEED) --contenders tensorflow stock baseline --depth 56 --steps 8
	$(SPEED) --contenders tensorflow stock baseline floor torch-eager torch-compile --depth 20 --steps 20 --rounds 7
	$(SPEED) --contenders tensorflow stock torch-eager --depth 20 --steps 20 --precision mixed_bfloat16
	$(SPEED) --contenders tensorflow stock baseline --depth 20 --steps 40 --batch 32
	$(SPEED) --contenders tensorflow stock baseline --depth 20 --steps 10 --batch 128
	$(SPEED) --contenders tensorflow stock baseline --depth 20 --steps 5 --batch 256
	$(SPEED) --contenders tensorflow stock baseline torch-eager --depth 20 --steps 10 --threads 1
	$(SPEED) --contenders tensorflow xla calls-of-10 --depth 20 --steps 20
	$(BIN)/python benchmarks/table.py

clean:
	rm -rf .venv .venv-jax .venv-torch
