#!/usr/bin/env bash
# What cargo calls in place of rustc for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER): it compiles as that does,
# and lints. So everything is compiled once. (Not by sh, which may drop variables with a hyphen: CARGO_BIN_EXE_….)
exec clippy-driver "$@" --deny warnings
