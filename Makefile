# The commands of this project. Builds go to a cache folder outside the checkout, so that fresh clones reuse them.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/sori/target
SORI := $(CARGO_TARGET_DIR)/release/sori

.PHONY: run test bench setup

run: setup
	cargo build --release --locked
	@scripts/demo $(SORI)

test: setup
	scripts/check

bench:
	cargo build --release --locked
	$(SORI) bench asr

setup:
	@scripts/setup
