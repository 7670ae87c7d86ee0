#!/usr/bin/env bash
# Everything: the quick loop, a real API server, real databases and brokers on loopback, then the local cluster.
# From an empty machine: it installs and builds what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH=$root/.local/bin:$PATH
export CARGO_FEATURES=failpoints
export PROFILE=dev
mkdir -p .local/log

phase() { printf '\n==> %s (%d s since the start)\n' "$*" "$SECONDS"; }

finish() {
  local status=$?
  if [[ ${SIMBDP_CLUSTER:-local} == local && ${SIMBDP_KEEP_CLUSTER:-} != true ]]; then
    # A server that ends slowly may fail the first try; the second finds nothing or says what is left.
    deploy/local/down.sh || deploy/local/down.sh || status=1
  fi
  if ((status != 0)); then
    echo "error: the tests failed; logs of the cluster's servers are in .local/log" >&2
  fi
  exit "$status"
}

phase "programs of the local cluster"
deploy/local/build.sh

phase "quick loop"
deploy/check.sh

phase "local cluster and images"
trap finish EXIT
make --no-print-directory cluster images
deploy/data.sh

phase "programs and a real broker on loopback"
SIMBDP_CASSANDRA_HOME=$root/.local/images/cassandra
SIMBDP_RABBITMQ_ROOT=$(deploy/local/unpack.sh rabbitmq)
export SIMBDP_CASSANDRA_HOME SIMBDP_RABBITMQ_ROOT
# `make test-all` runs every one: also the API server's campaigns, and databases of three.
read -ra servers <<<"${SERVER_TESTS---test record --test rabbitmq --test access --test messages --test reads --test recovery --test uploads --test wire --test process --test failpoints}"
cargo test --workspace --features "$CARGO_FEATURES" "${servers[@]:---tests}"

if [[ ${SIMBDP_CLUSTER:-local} == local ]]; then
  export KUBECONFIG=$root/.local/kubeconfig
fi
phase "chart"
deploy/install.sh

# Which tests of tests/cluster: `make test-all` runs every one, the kills and the life cycle included.
read -ra selected <<<"${CLUSTER_TESTS-main_job bad_input isolation}"
phase "on the cluster: ${selected[*]:-everything}"
cargo test --workspace --features "$CARGO_FEATURES,cluster-tests" --test cluster -- --test-threads=1 "${selected[@]}"
kubectl delete tenants --selector simbdp.dev/test=true --wait --timeout=300s
