# What one does with this repository. README.md says more.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloakroom
TARGET := $(or $(CARGO_TARGET_DIR),target)
CARGO_DENY := $(CACHE)/cargo-deny-0.20.2/bin/cargo-deny

.PHONY: run test check fuzz bench fmt

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

# Runs every fuzz target for so many seconds, from the seeds in the repository and what earlier runs found.
FUZZ_SECONDS := 60
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
fuzz:
	cargo +nightly fuzz build
	@for target in $(FUZZ_TARGETS); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
		dict=fuzz/fuzz_targets/$$target.dict; \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			$$(test -f $$dict && echo -dict=$$dict) \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 || exit 1; \
	done

# Measures a release build against what one would otherwise have, and writes docs/benchmarks.md.
bench:
	@tests/install.sh bench
	cargo build --release --package cloakroom-server --bin cloakroom
	cargo build --release --package cloakroom-tests --bin bench
	$(TARGET)/release/bench

fmt:
	cargo fmt --all
