#!/usr/bin/env bash
# The quick loop, a real API server, real databases and brokers on loopback, then the local cluster.
# From an empty machine: it installs and builds what it needs. With SIMBDP_TEST_ALL=true also what LONGER names,
# and each fault by itself, at the second of equal calls and at each of equal servers as well.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH=$root/.local/bin:$PATH
# One way to compile, so that nothing is compiled twice: clippy looks on.
export CARGO_FEATURES=failpoints,cluster-tests CARGO_TESTS=true PROFILE=dev RUSTC_WORKSPACE_WRAPPER=$root/deploy/clippy-driver.sh
# A test that fails says what it waited for: the frames of the runtime would hide that.
export RUST_BACKTRACE=0
# Minutes each: members of a Cassandra that are restarted one by one, are lost, hang, or come and go (those of a MongoDB always are).
readonly LONGER=(members::cassandra:: quorum::cassandra:: scale::a_cassandra)
# What disturbs all tenants, or is measured: one after the other, at the end.
readonly ALONE=(deletion::a_tenant_ends kills::the_rabbitmq_node kills::the_kafka_node quorum::)
left_out=()
# Two of the four pairs run each engine and each broker; the others are run with SIMBDP_TEST_ALL=true.
other_pairs=()
if [[ ${SIMBDP_TEST_ALL:-} != true ]]; then
  for name in "${LONGER[@]}"; do
    left_out+=(--skip "$name")
  done
  other_pairs=(--skip cassandra_kafka:: --skip mongodb_rabbitmq::)
fi
mkdir -p .local/log

# What took how long is told again with each phase: of a long log often only the end is read.
began=()
phase() {
  began+=("$SECONDS s: $*")
  printf '\n==> %s\n' "$*"
  printf '    from %s\n' "${began[@]}"
}

# What the cluster looks like when a test has failed, beside what the test itself says.
state() {
  df --human-readable "$root"
  kubectl describe nodes
  kubectl get tenants,coredms,ingestpipelines,pods --all-namespaces --output wide
  kubectl get events --all-namespaces --field-selector type=Warning --sort-by .lastTimestamp
  kubectl --namespace simbdp-system logs --selector app.kubernetes.io/component=operator --tail=2000
}

finish() {
  local status=$?
  if ((status != 0)); then
    state &>.local/log/state.log || true
  fi
  if [[ ${SIMBDP_CLUSTER:-local} == local && ${SIMBDP_KEEP_CLUSTER:-} != true ]]; then
    deploy/local/down.sh || status=1
  fi
  if ((status != 0)); then
    printf '    from %s\n' "${began[@]}" "$SECONDS s: the end" >&2
    echo "error: the tests failed; logs of the cluster's servers are in .local/log, what it looked like in .local/log/state.log" >&2
  fi
  exit "$status"
}

phase "packages"
deploy/local/build.sh packages

phase "compiler and clippy; beside it the local cluster's programs, tools and images of servers: .local/log/programs-and-images.log"
# Each of the compilers has stretches in which one thing alone can be compiled, or fetched.
{
  deploy/local/build.sh
  deploy/tools.sh
  deploy/local/images.sh cassandra mongodb rabbitmq kafka clientbatchingestapp clientstreamingestapp
} &>.local/log/programs-and-images.log &
programs=$!
trap wait EXIT
cargo build --quiet --workspace --features "$CARGO_FEATURES" --all-targets
wait "$programs" || { tail -n 25 .local/log/programs-and-images.log >&2; exit 1; }
trap - EXIT

phase "quick loop"
deploy/check.sh

phase "images"
make --no-print-directory images
deploy/data.sh

phase "real servers on loopback: an API server, databases, brokers, and the programs"
SIMBDP_CASSANDRA_HOME=$root/.local/images/cassandra
SIMBDP_KAFKA_HOME=$root/.local/images/kafka
SIMBDP_MONGODB_ROOT=$(deploy/local/unpack.sh mongodb)
SIMBDP_RABBITMQ_ROOT=$(deploy/local/unpack.sh rabbitmq)
export SIMBDP_CASSANDRA_HOME SIMBDP_KAFKA_HOME SIMBDP_MONGODB_ROOT SIMBDP_RABBITMQ_ROOT
# Two at a time, since both wait for their servers most of the time: what needs an API server, and the others.
cargo test --workspace --features "$CARGO_FEATURES" --test apiserver -- --test-threads=4 "${left_out[@]}" \
  &>.local/log/apiserver-tests.log &
apiserver=$!
trap wait EXIT
mapfile -t loopback < <(cargo metadata --no-deps --format-version 1 |
  jq --raw-output '.packages[].targets[] | select(.kind == ["test"]) | .name | select(. != "cluster" and . != "apiserver") | "--test", .')
cargo test --workspace --features "$CARGO_FEATURES" "${loopback[@]}" -- "${other_pairs[@]}"
phase "and the API server's, which went on beside them"
wait "$apiserver" || { tail -n 200 .local/log/apiserver-tests.log >&2; exit 1; }
tail -n 4 .local/log/apiserver-tests.log

phase "local cluster"
trap finish EXIT
make --no-print-directory cluster

if [[ ${SIMBDP_CLUSTER:-local} == local ]]; then
  export KUBECONFIG=$root/.local/kubeconfig
fi
phase "chart"
# Brokers of three nodes: one of them is killed. That one is enough is what the loopback has shown.
deploy/install.sh --set defaultBroker.nodes=3 --set defaultBroker.profile=Development --set defaultBroker.resources.requests.cpu=50m

phase "on the cluster"
not_together=()
for name in "${ALONE[@]}"; do
  not_together+=(--skip "$name")
done
cargo test --workspace --features "$CARGO_FEATURES" --test cluster -- \
  --test-threads=12 "${left_out[@]}" "${not_together[@]}"
phase "on the cluster, one by one"
# Servers of pods are stopped, which run on this machine where the cluster is the local one.
elsewhere=()
if [[ ${SIMBDP_CLUSTER:-local} != local ]]; then
  elsewhere=(--skip quorum::)
fi
cargo test --workspace --features "$CARGO_FEATURES" --test cluster -- \
  --test-threads=1 "${left_out[@]}" "${elsewhere[@]}" "${ALONE[@]}"
kubectl delete tenants --selector simbdp.dev/test=true --wait --timeout=300s
kubectl delete brokers --selector simbdp.dev/test=true --wait --timeout=120s
