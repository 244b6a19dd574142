# make demo         run the demo           make test        lint, types and the test suite
# make setup        install the runtime    make setup-dev   install the training and test tools too
# make bench        time the pipeline      make soak MINUTES=10  run the node and report leaks
# make pictures     create the README's pictures with the shipped models
# make parameters   write docs/parameters.md and config/enhance.yaml from the code
# make modules      write the list of modules in docs/architecture.md from the code
# make docs         write the API reference to out/docs
# make detectors PHOTOS=P.csv LABELS=L.json DETECTOR=X.onnx  measure the tables of docs/detectors.md
# make train-smoke  run every training command once, on generated data
# make weights DATA=DIR  train, export and evaluate the shipped models; the same command continues a stopped run
# PYTHON=python3.12 selects the interpreter; TORCH is pip's argument for torch, e.g. a build for your GPU.

PYTHON ?= python3
TORCH ?= torch==2.13.0
MINUTES ?= 10

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help setup setup-dev demo pictures parameters modules docs detectors train-smoke weights test lint bench soak clean

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

setup: $(VENV)/.setup

setup-dev: $(VENV)/.setup-dev

demo: setup
	$(BIN)/lowlight demo --out out/demo

pictures: setup
	$(BIN)/python test/helpers/showcase.py docs/pictures

parameters: setup
	$(BIN)/python -m lowlight_enhance.ros.parameter_docs

modules: setup
	$(BIN)/python test/helpers/module_list.py

docs: setup-dev
	$(PIP) install --editable '.[docs]'
	$(BIN)/python test/helpers/api_docs.py out/docs

bench: setup
	$(BIN)/lowlight bench

soak: setup
	$(BIN)/lowlight soak --minutes $(MINUTES)

detectors: setup-dev
	$(BIN)/python test/helpers/detector_tables.py --photos $(PHOTOS) --labels $(LABELS) --detector $(DETECTOR) --out out/detectors

train-smoke: setup-dev
	rm -rf out/train-smoke
	$(BIN)/python test/helpers/train_smoke.py out/train-smoke

# DATA holds the pictures that config/train/manifests/ lists. Hours on a CPU; models and table are in out/weights.
weights: setup-dev
	@test -d "$(DATA)" || { echo "give the folder of the data set: make weights DATA=DIR" >&2; exit 1; }
	$(BIN)/lowlight train --config config/train/student.yaml --data-root "$(DATA)" --out out/weights

test: setup-dev lint
	$(BIN)/python -m pytest

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict lowlight_enhance
	$(BIN)/lint-imports

clean:
	rm -rf out build install log dist .*_cache *.egg-info
	find lowlight_enhance test launch -name __pycache__ -type d -prune -exec rm -rf {} +

# venv installs pip last, so its presence shows that the environment is complete.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "lowlight_enhance needs Python 3.10 to 3.13; '$(PYTHON)' is not one of them: $$($(PYTHON) --version 2>&1)." \
	    "Choose another: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "cannot create a virtual environment; on Debian and Ubuntu:" \
	  "apt install python3-venv" >&2; exit 1; }

$(VENV)/.setup: setup.py pyproject.toml Makefile | $(BIN)/pip
	@echo "installing the runtime into $(VENV): a minute or two"
	$(PIP) install --editable '.[ros,offline,report,demo]'
	@touch $@

# torch is pinned and installed first: by the extras alone pip would install the newest version, whose GPU libraries may
# take gigabytes.
$(VENV)/.setup-dev: $(VENV)/.setup
	@echo "installing torch and the test tools into $(VENV): some minutes"
	$(PIP) install $(TORCH)
	$(PIP) install --editable '.[ros,offline,report,demo,openvino,train,test]'
	@touch $@
