#!/usr/bin/env bash
# The main job on real input: install, a tenant with three pipelines, files and messages in, and the proof that the
# tables hold exactly what the sources have. `make demo` brings the cluster up and builds the images first.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH=$root/.local/bin:$PATH
profile=${PROFILE:-dev}
if [[ ${SIMBDP_CLUSTER:-local} == local ]]; then
  export KUBECONFIG=$root/.local/kubeconfig
fi
readonly TENANT=flights NAMESPACE=tenant-flights

say() { printf '\n==> %s\n' "$*"; }
run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

say "the command line, and the real input"
cargo build --quiet --workspace --bins ${CARGO_TESTS:+--tests} --profile "$profile" ${CARGO_FEATURES:+--features "$CARGO_FEATURES"}
install -m 0755 "${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}/simbdp" .local/bin/simbdp
ln -sf simbdp .local/bin/kubectl-simbdp
deploy/data.sh
mkdir -p .local/demo/flights .local/demo/weather
ln -f .local/data/flights.csv .local/demo/flights/flights.csv
ln -f .local/data/weather.csv .local/demo/weather/weather.csv

say "install with helm"
deploy/install.sh

say "a tenant with its database, queues, gateway and users (about a minute)"
run kubectl apply -f deploy/samples/tenant.yaml
kubectl wait --for=condition=Ready --timeout=600s "tenant/$TENANT"

say "three pipelines"
run kubectl apply -f deploy/samples/flights.yaml -f deploy/samples/weather.yaml -f deploy/samples/planes.yaml
kubectl --namespace "$NAMESPACE" wait --for=condition=Ready --timeout=300s ingestpipelines --all

say "files and messages"
run simbdp --tenant "$TENANT" constraints weather
run simbdp --tenant "$TENANT" fetchdata .local/demo/weather --pipeline weather --wait
run simbdp --tenant "$TENANT" fetchdata .local/demo/flights --pipeline flights --wait
run simbdp --tenant "$TENANT" ingestmessage planes .local/data/planes.csv
kubectl --namespace "$NAMESPACE" wait --for=jsonpath='{.status.rows}'=3322 --timeout=300s ingestpipeline/planes

say "how it went"
run kubectl get tenants,ingestpipelines,coredms,brokers --all-namespaces
run simbdp --tenant "$TENANT" ledger
run simbdp --tenant "$TENANT" query weather --where origin=EWR --where time_hour.lt=2013-01-01T09:00:00Z

say "the same, by a client that shares no code with simbdp (cassandra-driver, LOCAL_QUORUM)"
if [[ ! -x .local/venv/bin/python ]]; then
  python3 -m venv .local/venv
  .local/venv/bin/pip install --quiet cassandra-driver==3.30.1
fi
# Members listen at their pods' addresses alone, which a forwarded port does not reach.
member=$(kubectl --namespace "$NAMESPACE" get pod coredms-0 --output 'jsonpath={.status.podIP}')
if ! timeout 10 bash -c "exec 3<>/dev/tcp/$member/9042"; then
  echo "error: $member:9042 cannot be reached from here: run the demo where the cluster's pods can be" >&2
  exit 1
fi
secret() {
  kubectl --namespace "$NAMESPACE" get secret coredms-binding --output "jsonpath={.data.$1}" | base64 --decode
}
{ secret password; echo; } |
  .local/venv/bin/python deploy/verify.py --host "$member" --user "$(secret username)" --keyspace "$(secret keyspace)"

cat <<EOF

==> what to try next (with KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config} and $root/.local/bin in PATH)
    simbdp --tenant flights status
    simbdp --tenant flights fetchdata DIRECTORY --pipeline weather --watch
    kubectl -n tenant-flights describe ingestpipeline weather
    kubectl delete tenant flights     # ordered, with its progress in status; make cluster-down ends the cluster
EOF
