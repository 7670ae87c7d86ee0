# simbdp. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

include deploy/local/local.mk

export PATH := $(CURDIR)/.local/bin:$(PATH)

.PHONY: help
## help: list the targets
help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //' | sort | awk -F': ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: check
## check: the quick loop: format, clippy, deny, units, generated files in step
check:
	@deploy/check.sh

.PHONY: generate
## generate: write crds/, the chart of definitions and docs/api.md from the Rust types
generate:
	@cargo build --quiet --workspace --bins $(if $(CARGO_TESTS),--tests) $(if $(CARGO_FEATURES),--features '$(CARGO_FEATURES)')
	@$${CARGO_TARGET_DIR:-target}/debug/simbdp-operator crds --out crds --chart charts/simbdp-crds/templates --docs docs/api.md

.PHONY: demo
## demo: the main job on real input, on the local cluster
demo: cluster images
	@deploy/demo.sh

.PHONY: test
## test: check, real servers on loopback, the API server's campaigns, and everything that users do on the local cluster
test:
	@deploy/test.sh

.PHONY: test-all
## test-all: the same with what takes longest
test-all:
	@SIMBDP_TEST_ALL=true deploy/test.sh

.PHONY: bench
## bench: compare with other loaders in one run; writes docs/benchmarks.md
bench:
	@deploy/bench.sh
