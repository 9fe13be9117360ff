# Every target installs what it lacks and says what it installs.
.DEFAULT_GOAL := help
.PHONY: help build demo test test-all bench gen gen-check schema gas programs fmt lint clean

# One test of the relayer, with the features that the whole workspace is built with: nothing is compiled twice.
RELAYER_TEST = cargo test --quiet --locked --workspace --test compute

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## The `compute-futures` binary
	@scripts/need.sh rust npm
	@cargo build --workspace --bins --locked

demo: build ## The whole story on Base and Solana, on this machine (ONCE=1 exits after it)
	@scripts/demo.sh

test: ## Every test of the everyday set
	@scripts/need.sh rust npm nextest postgres x402_python schemathesis
	@scripts/test.sh

test-all: ## The same with long fuzzing and the slow tests
	@scripts/need.sh rust npm nextest postgres x402_python schemathesis
	@scripts/test.sh --all

bench: ## Measure gas, relayer and indexer -> bench/results, docs/benchmarks.md
	@scripts/need.sh rust npm postgres python
	@scripts/bench.sh

gen: ## Write what is generated and committed (ABI, verification input, vectors, docs/openapi.json, the skill's reference)
	@scripts/need.sh npm rust
	@node contracts/script/gen.mjs
	@node tests/vectors/generate.mjs
	@UPDATE_GENERATED=1 $(RELAYER_TEST) the_committed_document
	@node skills/gen.mjs

schema: ## Requests made up from the OpenAPI document, many of them (EXAMPLES=200)
	@scripts/need.sh rust schemathesis
	@SCHEMA_EXAMPLES=$${EXAMPLES:-200} $(RELAYER_TEST) requests_made_up

gen-check: ## Fail when a generated file is out of date
	@scripts/need.sh npm rust
	@node contracts/script/gen.mjs --check
	@node tests/vectors/generate.mjs --check
	@$(RELAYER_TEST) the_committed_document
	@node skills/gen.mjs --check

gas: ## Write new gas snapshots
	@scripts/need.sh npm
	@PATH="$$PWD/node_modules/.bin:$$PATH" && forge build --quiet && forge test --isolate --match-contract GasTest

programs: ## Build the Solana programs again -> programs/fixtures, idls
	@scripts/need.sh rust
	@scripts/programs.sh build

fmt: ## Format Rust and Solidity
	@scripts/need.sh rust npm
	@cargo fmt --all
	@cargo fmt --manifest-path programs/Cargo.toml --all
	@cargo fmt --manifest-path programs/testing/Cargo.toml
	@cargo fmt --manifest-path programs/compute-futures/tests/Cargo.toml
	@cargo fmt --manifest-path programs/compute-escrow/tests/Cargo.toml
	@PATH="$$PWD/node_modules/.bin:$$PATH" forge fmt

lint: ## Formatting, clippy, licences, advisories, generated files
	@scripts/need.sh rust npm deny
	@scripts/lint.sh

clean: ## Remove build output, keep the installed tools
	@find target -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +
	@rm -rf contracts/out contracts/cache
