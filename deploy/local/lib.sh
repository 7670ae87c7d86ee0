# shellcheck shell=bash disable=SC2034 # sourced: its variables are used by the scripts
# What the scripts here share: where things lie, and how progress is shown.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# shellcheck source=versions.env
source "$HERE/versions.env"

# Everything built, cached or stored lies under one directory.
LOCAL=${SIMBDP_LOCAL_DIR:-$ROOT/.local}
BIN=$LOCAL/bin       # the programs
CACHE=$LOCAL/cache   # downloads and compilers' caches
IMAGES=$LOCAL/images # image archives and what they are built from
# What is built here of the project; and what stands in where no registry has the official images.
PRODUCT_IMAGES=(simbdp clientbatchingestapp clientstreamingestapp)
SERVER_IMAGES=(cassandra mongodb rabbitmq kafka)
LOG=$LOCAL/log       # a log per build step and per server
STATE=$LOCAL/run     # the cluster: etcd, keys, containers, volumes
KUBECONFIG_FILE=$LOCAL/kubeconfig

# Sockets, pid files and mounts: one place a machine, so that the paths are short
# enough for sockets and any checkout finds what another left running.
RUN=/run/simbdp-local
CONTAINERD_SOCKET=$RUN/containerd.sock

BRIDGE=simbdp0
NODE_NAME=node1
NODE_IP=10.244.0.1
POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10
API_PORT=6443

mkdir -p "$BIN" "$CACHE" "$IMAGES" "$LOG"

fail() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

say() {
	printf '==> %s\n' "$*"
}

# uses_current_cluster: true when the work goes to the kubeconfig's own cluster.
uses_current_cluster() {
	case ${SIMBDP_CLUSTER:-local} in
	current) return 0 ;;
	local) return 1 ;;
	*) fail "SIMBDP_CLUSTER is '$SIMBDP_CLUSTER'; it can be 'local' or 'current'" ;;
	esac
}

# step NAME COMMAND...: runs it with its output in a log, and shows how long it took.
# COMMAND runs in a subshell of its own with errexit, which a plain 'if' would turn off.
step() {
	local name=$1 log seconds=$SECONDS pid status=0
	shift
	log=$LOG/$(tr -c 'A-Za-z0-9\n' - <<<"$name").log
	printf '==> %s\n' "$name"
	(
		set -euo pipefail
		"$@"
	) >"$log" 2>&1 &
	pid=$!
	tick "$pid" "$seconds"
	wait "$pid" || status=$?
	if ((status != 0)); then
		printf -- '--- the last lines of %s\n' "$log" >&2
		tail -n 25 "$log" >&2
		fail "'$name' failed after $((SECONDS - seconds)) s; the whole log is $log"
	fi
	printf '    done in %d s\n' "$((SECONDS - seconds))"
}

# tick PID SECONDS: a sign of life every half minute for as long as PID runs.
tick() {
	local pid=$1 since=$2 next=$((SECONDS + 30))
	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS >= next)); then
			printf '    ... %d s\n' "$((SECONDS - since))"
			next=$((SECONDS + 30))
		fi
		sleep 0.1
	done
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, or fails saying WHAT.
wait_for() {
	local limit=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < limit)) || fail "gave up waiting for $what"
		sleep 0.1
	done
}

# digest_of FILE_OR_DIRECTORY...: one hash over the names and contents of all files.
digest_of() {
	find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sed "s|$ROOT/||" | sha256sum | cut -c1-16
}

# kube ARGS...: kubectl on the local cluster.
kube() {
	"$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"
}

# ctr_local ARGS...: containerd's client, in the namespace that Kubernetes uses.
ctr_local() {
	ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"
}
