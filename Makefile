# What one does with this repository. README.md says more.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloakroom
TARGET := $(or $(CARGO_TARGET_DIR),target)
CARGO_DENY := $(CACHE)/cargo-deny-0.20.2/bin/cargo-deny

.PHONY: run test check bench fmt

# Builds and starts the service, with nothing else installed.
run:
	@cargo run --package cloakroom-server --bin cloakroom -- serve

# Installs what the tests need, starts real servers, runs every test.
test:
	@tests/install.sh test
	cargo build --workspace --all-features --bins --tests
	$(TARGET)/debug/with-servers cargo test --workspace --all-features

# Format, lints, licences.
check:
	@tests/install.sh check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO_DENY) check bans licenses sources

# Measures a release build against what one would otherwise have, and writes docs/benchmarks.md.
bench:
	@tests/install.sh bench
	cargo build --release --package cloakroom-server --bin cloakroom
	cargo build --release --package cloakroom-tests --bin bench
	$(TARGET)/release/bench

fmt:
	cargo fmt --all
