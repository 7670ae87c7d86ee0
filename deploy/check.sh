#!/usr/bin/env bash
# The quick loop: format, clippy, licences, scripts, charts, generated files in step, unit tests.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.local/bin:$PATH

# One way to compile, so that nothing is compiled twice: clippy looks on.
export CARGO_FEATURES=failpoints,cluster-tests CARGO_TESTS=true RUSTC_WORKSPACE_WRAPPER=$PWD/deploy/clippy-driver.sh

deploy/tools.sh

echo "==> format"
cargo fmt --all --check

echo "==> compiler and clippy"
cargo build --quiet --workspace --features "$CARGO_FEATURES" --all-targets

echo "==> licences, bans, sources"
cargo deny --log-level error check licenses bans sources

echo "==> scripts"
git ls-files '*.sh' '.ci/run' | xargs shellcheck --external-sources

echo "==> generated files"
make --no-print-directory generate
git diff --exit-code --stat -- crds charts/simbdp-crds docs/api.md ||
  { echo "error: generated files are out of step: commit what 'make generate' wrote" >&2; exit 1; }

echo "==> charts"
helm lint --quiet charts/simbdp charts/simbdp-crds

echo "==> who can reach whom"
deploy/connectivity.sh

echo "==> units"
cargo test --quiet --workspace --features "$CARGO_FEATURES" --lib --bins
