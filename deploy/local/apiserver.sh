#!/usr/bin/env bash
# apiserver.sh DIRECTORY PORT [ETCD_PORT]: a control plane without a node, for tests
# against a real API server: etcd, kube-apiserver and kube-controller-manager, on
# this machine's loopback only. ETCD_PORT is PORT + 1 unless given.
#
# It stays in the foreground and prints 'ready' when DIRECTORY/kubeconfig works. It
# ends its servers when it gets SIGTERM or SIGINT, when one of them ends and, if its
# standard input is a pipe, when that is closed. Logs and state lie in DIRECTORY,
# which is the caller's to remove. It needs no root.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=pki.sh
source "$HERE/pki.sh"
# shellcheck source=control-plane.sh
source "$HERE/control-plane.sh"

[[ $# == 2 || $# == 3 ]] || fail "usage: apiserver.sh DIRECTORY PORT [ETCD_PORT]"
mkdir -p "$1"
directory=$(cd "$1" && pwd)
port=$2
etcd_port=${3:-$((port + 1))}
servers=()

# run NAME COMMAND...: in the background, logged in the directory.
run() {
	local log=$directory/$1.log
	shift
	"$@" >"$log" 2>&1 </dev/null &
	servers+=("$!")
}

# end_servers: last started, first ended; etcd must outlive its clients.
end_servers() {
	local index
	trap - EXIT
	for ((index = ${#servers[@]} - 1; index >= 0; index--)); do
		end_server "${servers[index]}"
	done
	if [[ -n ${watcher:-} ]]; then
		kill "$watcher" 2>/dev/null || true
	fi
}

# end_server PID: the API server takes a minute over its open watches; tests do not wait.
end_server() {
	local limit=$((SECONDS + 3))
	kill "$1" 2>/dev/null || return 0
	while kill -0 "$1" 2>/dev/null; do
		if ((SECONDS >= limit)); then
			kill -KILL "$1" 2>/dev/null || true
		fi
		sleep 0.05
	done
}

# wait_until SECONDS COMMAND...: fails at once when a server has ended, which is most
# often a port in use.
wait_until() {
	local limit=$((SECONDS + $1)) pid
	shift
	until "$@" >/dev/null 2>&1; do
		for pid in "${servers[@]}"; do
			kill -0 "$pid" 2>/dev/null || fail "a server ended; see the logs in $directory"
		done
		((SECONDS < limit)) || fail "the servers do not get ready; see the logs in $directory"
		sleep 0.1
	done
}

# controllers_work: they make this in every namespace.
controllers_work() {
	"$BIN/kubectl" --kubeconfig "$directory/kubeconfig" --namespace default get serviceaccount default
}

# Without pods that run nobody asks what these would write.
CONTROLLERS='*,-disruption-controller,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller'
# Memory is spent for processor time.
export GOGC=300

"$HERE/build.sh" control-plane >&2
trap end_servers EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
watcher=
if [[ -p /dev/stdin ]]; then
	exec 3<&0
	cat <&3 >/dev/null &
	watcher=$!
	exec 3<&-
fi

if [[ ! -f $directory/pki/complete ]]; then
	new_pki "$directory" "$port" 2>"$directory/pki.log"
fi
install -m 0600 "$directory/admin.kubeconfig" "$directory/kubeconfig"
etcd_command "$directory" "$etcd_port"
run etcd "${COMMAND[@]}"
apiserver_command "$directory" "$port" "$etcd_port"
run kube-apiserver "${COMMAND[@]}" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 \
	--endpoint-reconciler-type none --shutdown-delay-duration 0
wait_until 60 api_answers "$directory/kubeconfig"
controller_manager_command "$directory" 0
run kube-controller-manager "${COMMAND[@]}" --controllers "$CONTROLLERS"
wait_until 60 controllers_work
echo ready
# Whichever ends first, a server or the input, ends all.
wait -n "${servers[@]}" ${watcher:+"$watcher"} || true
