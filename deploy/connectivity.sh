#!/usr/bin/env bash
# Analyses who can reach whom by the network policies that the operator and its chart make, and compares it with
# docs/connectivity.txt. 'connectivity.sh --write' writes that file.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.local/bin:$PATH

deploy/local/build.sh connectivity
objects=$(mktemp)
trap 'rm -f "$objects"' EXIT
{
  cat deploy/connectivity/around.yaml
  cargo build --quiet --workspace --features "${CARGO_FEATURES:-}" --examples
  "${CARGO_TARGET_DIR:-target}/debug/examples/objects" deploy/connectivity/declared.yaml
  helm template simbdp charts/simbdp --namespace simbdp-system
} >"$objects"
if [[ ${1:-} == --write ]]; then
  connectivity simbdp-system <"$objects" >docs/connectivity.txt
elif ! connectivity simbdp-system <"$objects" | diff --unified docs/connectivity.txt -; then
  echo "error: network policies allow something else than docs/connectivity.txt says: if that is meant, run deploy/connectivity.sh --write" >&2
  exit 1
fi
