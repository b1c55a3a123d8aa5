# Everything here works from a clean clone, with nothing but Python >= 3.11 and a C++17 compiler installed.
# make run and make test set up their own virtual environment in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(abspath $(VENV))/bin
# what the wheel is made of: a change to any of these means a new build
SOURCES := pyproject.toml CMakeLists.txt README.md $(shell find src compiler hwmodel reports configs engine_cpp \
             -type f -not -path '*/__pycache__/*' -not -path 'engine_cpp/tests/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run sweep test check lint types docs sbom sanitize fuzz onnx-cases torch-cases bench mutation mutation-cpp clean

help:      ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## the main job: time and compute a model, write the reports to out/
	$(BIN)/minisim run --config npu_32x32 examples/mlp.py --out out

sweep: $(VENV)/.installed  ## the same model on 21 machines
	$(BIN)/minisim sweep --config npu_32x32 examples/mlp.py --out out \
	  --param sram.bytes=16KiB,32KiB,64KiB,128KiB,256KiB,512KiB,1MiB --param dram.bandwidth=6.4GB/s,12.8GB/s,25.6GB/s

test: $(VENV)/.test  ## the test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

check: lint types  ## lint and types: what CI runs beside the tests

lint: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# the installed package is checked, from another folder: mypy does not follow the folder mapping
types: $(VENV)/.check
	cd $(VENV) && $(BIN)/mypy --config-file ../pyproject.toml -p minisim -p minisim_start

sanitize: sanitize-address sanitize-thread  ## the engine's own tests under ASan and UBSan, and under TSan

sanitize-%: $(VENV)/.test
	$(BIN)/cmake -S . -B build/sanitize-$* -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_MAKE_PROGRAM=$(BIN)/ninja -DMINISIM_SANITIZE=$* -DMINISIM_BUILD_TESTS=ON -DMINISIM_BUILD_PYTHON=OFF
	$(BIN)/cmake --build build/sanitize-$*
	$(BIN)/ctest --test-dir build/sanitize-$* --output-on-failure

fuzz: $(VENV)/.test  ## damaged models and machines, odd command lines: N=100000 of them, from SEED=0 on, KIND=network alone
	PYTHONPATH=tests $(BIN)/python -m fuzz -n $(or $(N),10000) --seed $(or $(SEED),0) $(if $(KIND),--kind $(KIND))

mutation-cpp: $(VENV)/.mutation-cpp  ## put faults into the C++ engine; see which its tests catch: N=20 SEED=2 FILES="a b" CHANGED=main
	$(BIN)/python tests/mutation_cpp -n $(or $(N),100) --seed $(or $(SEED),1) $(if $(CHANGED),--changed $(CHANGED)) $(FILES)

docs: $(VENV)/.docs  ## the site of docs/, in build/site; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/site

sbom: $(VENV)/.sbom  ## build/sbom.json: what an installation with all light extras consists of, as CycloneDX
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/bin/python -m pip install -q --disable-pip-version-check '.[onnx,plot,trace]'
	$(BIN)/cyclonedx-py environment build/sbom/bin/python --pyproject pyproject.toml --output-reproducible \
	  --of JSON -o build/sbom.json

onnx-cases: $(VENV)/.test  ## ONNX's node tests through compiler, timing and engine: the table of docs/onnx.md
	$(BIN)/python benchmarks/onnx_cases.py

torch-cases: $(VENV)/.torch  ## models of PyTorch against torch itself: the extra [torch], which make test does without
	$(BIN)/python -m pytest -rs tests/frontend/test_torch.py $(PYTEST_ARGS)

bench: $(VENV)/.test  ## the figures of docs/performance.md
	$(BIN)/python benchmarks/speed.py

mutation: $(VENV)/.mutation  ## put faults into the Python sources; see which a test catches: N=40 SEED=2 FILES="a b" CHANGED=main
	$(BIN)/python tests/mutation -n $(or $(N),400) --seed $(or $(SEED),1) $(if $(CHANGED),--changed $(CHANGED)) $(FILES)

clean:     ## remove what the other targets made
	rm -rf $(VENV) build out

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check .
	touch $@

$(VENV)/.test: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.docs: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[docs]'
	touch $@ $(VENV)/.installed

$(VENV)/.sbom: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check 'cyclonedx-bom>=7'
	touch $@

$(VENV)/.torch: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[test,torch]'
	touch $@ $(VENV)/.test $(VENV)/.installed

$(VENV)/.mutation-cpp: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[mutation-cpp]'
	touch $@ $(VENV)/.test $(VENV)/.installed

$(VENV)/.check: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[check]'
	touch $@ $(VENV)/.test $(VENV)/.installed

$(VENV)/.mutation: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check '.[mutation]'
	touch $@ $(VENV)/.test $(VENV)/.installed
