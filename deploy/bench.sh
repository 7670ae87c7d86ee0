#!/usr/bin/env bash
# Measures the ingest app against dsbulk on one database, decoding against the bare csv crate, memory at rest, how long
# the first message of a pipeline takes that rests, beside KEDA, and what a tenant notices of another one's load.
# Results go to .local/bench/*.json and as a table to docs/benchmarks.md. `bench.sh PART...` does only these of
# decode, rest, activation, noise, load and report.
# SIMBDP_BENCH_ROUNDS and SIMBDP_BENCH_ROWS: how often, and the rows of the larger file (3; 1,000,000).
# SIMBDP_BENCH_INSTALLED=true: takes the cluster and the simbdp that runs in it as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH=$root/.local/bin:$PATH
if [[ ${SIMBDP_CLUSTER:-local} == local ]]; then
  export KUBECONFIG=$root/.local/kubeconfig
fi
readonly DIRECTORY=.local/bench NAMESPACE=tenant-bench DSBULK_VERSION=1.10.0
readonly KEDA_VERSION=2.21.0 KEDA_SUM=h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=
readonly ROUNDS=${SIMBDP_BENCH_ROUNDS:-3} ROWS=${SIMBDP_BENCH_ROWS:-1000000}
readonly ACTIVATIONS=5
export PROFILE=${PROFILE:-release}
binding=
kept=true
parts=("$@")
if ((${#parts[@]} == 0)); then
  parts=(decode rest activation noise load report)
fi

say() { printf '\n==> %s\n' "$*"; }
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

finish() {
  rm -rf "$binding"
  if [[ $kept == false ]]; then
    kubectl delete tenants bench calm --ignore-not-found --wait=false >/dev/null
    # It goes when the last of its tenants has.
    kubectl delete broker bench --ignore-not-found --wait=false >/dev/null
  fi
}

# pipeline FILE [PATCH]: an IngestPipeline as JSON, without asking the cluster.
pipeline() {
  local none='{}'
  kubectl patch --local --filename "$1" --type merge --patch "${2:-$none}" --output json
}

inputs() {
  say "programs, optimised as for a release, and files"
  cargo build --release --workspace --bins
  cargo build --release --package simbdp-coredms --example throughput
  deploy/data.sh
  local million=$DIRECTORY/million-$ROWS
  if [[ ! -f $million.csv || deploy/bench/million.py -nt $million.csv ]]; then
    python3 deploy/bench/million.py "$ROWS" >"$million.part"
    mv "$million.part" "$million.csv"
  fi
  pipeline deploy/bench/million.yaml | jq .spec.table >"$DIRECTORY/million.table.json"
  pipeline deploy/samples/flights.yaml | jq .spec.table >"$DIRECTORY/flights.table.json"
}

cluster() {
  if [[ ${SIMBDP_BENCH_INSTALLED:-} != true ]]; then
    say "cluster, images and simbdp"
    make --no-print-directory cluster images
    deploy/install.sh
  fi
}

tenant() {
  say "a tenant with a database of three members"
  kept=false
  kubectl apply --filename deploy/bench/tenant.yaml
  kubectl wait --for=condition=Ready --timeout=600s tenant/bench
  kubectl apply --filename deploy/bench/million.yaml --filename deploy/bench/first.yaml
  # The sample's, in this tenant.
  local patch='{"metadata": {"namespace": "tenant-bench"}, "spec": {"scaling": {"minReplicas": 1, "maxReplicas": 1}}}'
  pipeline deploy/samples/flights.yaml "$patch" | kubectl apply --filename -
  kubectl --namespace "$NAMESPACE" wait --for=condition=Ready --timeout=300s ingestpipelines --all
  kubectl --namespace "$NAMESPACE" wait --for=condition=Available --timeout=120s deployments --all
}

decode() {
  say "decoding alone, on one core"
  local name file
  for name in million flights; do
    file=.local/data/flights.csv
    if [[ $name == million ]]; then
      file=$DIRECTORY/million-$ROWS.csv
    fi
    taskset --cpu-list 0 target/release/examples/throughput "$file" "$DIRECTORY/$name.table.json" 5 |
      tee "$DIRECTORY/decode-$name.json"
  done
}

# resident NAMESPACE SELECTOR CONTAINER PROGRAM: the memory of each pod's first process, as JSON.
resident() {
  local pod
  kubectl --namespace "$1" get pods --selector "$2" --field-selector status.phase=Running --output name | while read -r pod; do
    kubectl --namespace "$1" exec "$pod" --container "$3" -- grep -E '^(VmRSS|VmHWM):' /proc/1/status |
      jq --raw-input --slurp --arg pod "${pod#pod/}" --arg program "$4" \
        '[scan("(\\w+):\\s+(\\d+) kB") | {(.[0]): (.[1] | tonumber * 1024)}] | add |
         {program: $program, pod: $pod, residentBytes: .VmRSS, peakResidentBytes: .VmHWM}'
  done
}

rest() {
  say "memory at rest"
  {
    resident "${SIMBDP_NAMESPACE:-simbdp-system}" app.kubernetes.io/component=operator operator simbdp-operator
    resident "$NAMESPACE" app.kubernetes.io/component=gateway gateway simbdp-gateway
    resident "$NAMESPACE" app.kubernetes.io/component=ingest ingest simbdp-ingest
  } | jq --slurp --arg profile "$PROFILE" '{profile: $profile, pods: .}' | tee "$DIRECTORY/rest.json"
}

# keda: compiles KEDA's operator as its own images have it, without cgo; KEDA_MODULE is where its module lies.
keda() {
  local downloaded
  export GOMODCACHE=$root/.local/cache/gomod GOCACHE=$root/.local/cache/gobuild GOTOOLCHAIN=auto
  downloaded=$(go mod download -json "github.com/kedacore/keda/v2@v$KEDA_VERSION")
  if [[ $(jq --raw-output .Sum <<<"$downloaded") != "$KEDA_SUM" ]]; then
    echo "error: KEDA $KEDA_VERSION is not what was measured before" >&2
    exit 1
  fi
  KEDA_MODULE=$(jq --raw-output .Dir <<<"$downloaded")
  if [[ ! -x $DIRECTORY/keda-$KEDA_VERSION ]]; then
    say "compile KEDA $KEDA_VERSION, which takes minutes"
    CGO_ENABLED=0 GOGC=off GOMEMLIMIT=6GiB go build -C "$KEDA_MODULE" -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w" \
      -o "$root/$DIRECTORY/keda-$KEDA_VERSION.new" ./cmd/operator
    mv "$DIRECTORY/keda-$KEDA_VERSION.new" "$DIRECTORY/keda-$KEDA_VERSION"
  fi
}

activation() {
  keda
  say "the first message"
  python3 deploy/bench/activation.py --keda "$DIRECTORY/keda-$KEDA_VERSION" --keda-module "$KEDA_MODULE" \
    --directory "$DIRECTORY" --rounds "$ACTIVATIONS"
}

noise() {
  rm -f "$DIRECTORY/noise.json"
  if [[ ${SIMBDP_CLUSTER:-local} != local ]]; then
    say "no neighbour: servers of its database are held from the node's own side"
    return
  fi
  say "a neighbour that makes noise"
  python_packages
  kubectl apply --filename deploy/bench/calm.yaml
  kubectl wait --for=condition=Ready --timeout=600s tenant/calm
  kubectl apply --filename deploy/bench/calm-pipeline.yaml --filename deploy/bench/noise.yaml
  kubectl --namespace tenant-calm wait --for=condition=Ready --timeout=300s ingestpipelines --all
  kubectl --namespace "$NAMESPACE" wait --for=condition=Ready --timeout=300s ingestpipelines --all
  local hosts
  members
  logins "${hosts[@]}"
  .local/venv/bin/python deploy/bench/noise.py --hosts "${hosts[@]}" --binding "$binding" --directory "$DIRECTORY"
  rm -rf "$binding"
  kubectl delete tenant calm --wait=false
}

dsbulk() {
  local stamp
  stamp=$(sha256sum deploy/bench/pom.xml)" $DSBULK_VERSION"
  if [[ $(cat "$DIRECTORY/dsbulk.stamp" 2>/dev/null) != "$stamp" ]]; then
    say "fetch dsbulk $DSBULK_VERSION"
    rm -rf "$DIRECTORY/dsbulk"
    mvn --batch-mode --no-transfer-progress --quiet -Dmaven.repo.local="$root/.local/cache/maven" \
      --file deploy/bench/pom.xml -Ddsbulk.version="$DSBULK_VERSION" \
      dependency:copy-dependencies -DoutputDirectory="$root/$DIRECTORY/dsbulk" -DincludeScope=runtime
    echo "$stamp" >"$DIRECTORY/dsbulk.stamp"
  fi
}

python_packages() {
  if [[ ! -x .local/venv/bin/python ]]; then
    python3 -m venv .local/venv
    .local/venv/bin/pip install --quiet cassandra-driver==3.30.1
  fi
}

# members: the addresses of the tenant's database, in the caller's hosts.
members() {
  mapfile -t hosts < <(kubectl --namespace "$NAMESPACE" get pods --selector simbdp.dev/coredms=coredms \
    --output 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}')
}

secret() { kubectl --namespace "$NAMESPACE" get secret coredms-platform --output "jsonpath={.data.$1}" | base64 --decode; }

# logins HOST...: files that the loaders read their login from.
logins() {
  binding=$(mktemp --directory)
  echo cassandra >"$binding/type"
  secret username >"$binding/username"
  secret password >"$binding/password"
  secret batch_size_warn_threshold >"$binding/batch_size_warn_threshold"
  jq --null-input --args --rawfile username "$binding/username" --rawfile password "$binding/password" \
    --arg logs "$root/$DIRECTORY/dsbulk.log" '{
      "datastax-java-driver": {
        basic: {"contact-points": [$ARGS.positional[] | "\(.):9042"], "load-balancing-policy": {"local-datacenter": "dc1"}},
        advanced: {"auth-provider": {class: "PlainTextAuthProvider", username: $username, password: $password}}
      },
      dsbulk: {connector: {csv: {header: true}}, driver: {query: {consistency: "LOCAL_QUORUM"}}, log: {directory: $logs}}
    }' "$@" >"$binding/dsbulk.conf"
}

load() {
  dsbulk
  python_packages
  say "both loaders, $ROUNDS rounds"
  local hosts
  members
  logins "${hosts[@]}"
  .local/venv/bin/python deploy/bench/load.py --hosts "${hosts[@]}" --binding "$binding" --rounds "$ROUNDS" \
    --ingest target/release/simbdp-ingest --dsbulk "$DIRECTORY/dsbulk" --directory "$DIRECTORY" \
    --flights .local/data/flights.csv --million "$DIRECTORY/million-$ROWS.csv"
}

machine() {
  jq --null-input --arg model "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" \
    --argjson memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" --arg kernel "$(uname -r)" \
    --arg rust "$(rustc --version | cut -d ' ' -f 2)" --arg java "$(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')" \
    --arg commit "$(git rev-parse --short HEAD)" --arg day "$(date --utc --iso-8601)" --arg dsbulk "$DSBULK_VERSION" --arg keda "$KEDA_VERSION" \
    '{model: $model, cores: $cores, memoryBytes: ($memory * 1024), kernel: $kernel, rust: $rust, java: $java,
      dsbulk: $dsbulk, keda: $keda, commit: $commit, day: $day}' >"$DIRECTORY/machine.json"
}

mkdir -p "$DIRECTORY"
trap finish EXIT
if wanted decode || wanted rest || wanted activation || wanted noise || wanted load; then
  machine
fi
if wanted decode || wanted load; then inputs; fi
if wanted decode; then decode; fi
if wanted rest || wanted activation || wanted noise || wanted load; then
  cluster
  tenant
fi
if wanted rest; then rest; fi
if wanted activation; then activation; fi
if wanted noise; then noise; fi
if wanted load; then load; fi
if wanted report; then
  say "docs/benchmarks.md"
  python3 deploy/bench/report.py "$DIRECTORY" docs/benchmarks.md
fi
