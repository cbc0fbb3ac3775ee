# Each target does all the set-up that it needs: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all lint golden faults fuzz bench sample-data clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)             ## the main job on sample_data/
	PATH="$(BIN):$$PATH" sh sample_data/demo.sh demo

test: $(STAMP)             ## the tests
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-all: $(STAMP)         ## also what takes long
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(STAMP)             ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy cli --explicit-package-bases
	$(BIN)/lint-imports

golden: $(STAMP)           ## write the golden files anew; look at the difference before committing it
	VLADATA_WRITE_GOLDEN=1 $(BIN)/python -m pytest -m "not slow" -k golden

fuzz: $(STAMP)             ## 20,000 damaged recordings through every source
	$(BIN)/python -m tests.fuzz --inputs 20000 --seed 1

bench: $(STAMP)            ## speed and memory beside peers and limits; prints ratios
	$(BIN)/python -m benchmarks

faults: $(STAMP)           ## prove the checks: inject faults, write the table of docs/checks/faults.md
	$(BIN)/python -m benchmarks faults --list --write

sample-data: $(STAMP)      ## make sample_data/recordings anew (needs libegl1 and libgl1-mesa-dri)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[simulator]'
	MUJOCO_GL=egl $(BIN)/python sample_data/make_sample_data.py

clean:
	rm -rf $(VENV) build demo *.egg-info
