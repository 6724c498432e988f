# The commands of the project. Each does its own set-up; see README.md.
.DEFAULT_GOAL := help
export AWS_LC_SYS_USE_SYSTEM := 0
# CI machines build once: incremental state would only cost disk there.
ifdef CI
export CARGO_INCREMENTAL := 0
endif

.PHONY: help demo test check bench clean setup

help:
	@echo 'make demo         a compromised device is detected and cut off, before your eyes; KEEP=1 leaves it running'
	@echo 'make test         all tests, with real clients, brokers and databases'
	@echo 'make check        format, clippy, docs, tidy'
	@echo 'make bench        the figures of SPECIFICATION.md, on this machine; BENCH_QUICK=1 for a first look'
	@echo 'make clean        remove what was built'

demo:
	cargo build --locked --profile demo --bins
	@$${CARGO_TARGET_DIR:-target}/demo/picket demo $(if $(filter-out 0,$(KEEP)),--keep)

setup:
	scripts/setup.sh

test: setup
	cargo build --locked --workspace --bins
	cd tests/aws-sdk && cargo build --locked --target-dir $(abspath $(or $(CARGO_TARGET_DIR),target))/aws-sdk
	cargo test --locked --workspace

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet
	cargo test --locked --quiet -p picket-server --test tidy

bench:
	scripts/setup.sh bench
	cargo build --locked --release --bins
	cargo build --locked --release -p picket-store --example history_size
	cargo build --locked --release -p picket-detect --example engine_rate
	@python3 bench/run.py $${CARGO_TARGET_DIR:-target}/release

clean:
	cargo clean
