#!/usr/bin/env bash
# test.sh [live]: proves that the local cluster works and leaves nothing behind. It
# ends by taking the cluster down; with 'live' it neither kills nor stops anything.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=process.sh
source "$HERE/process.sh"
# shellcheck source=clean.sh
source "$HERE/clean.sh"

NAMESPACE=simbdp-cluster-test
passed=0
failed=0

# check WHAT COMMAND...: in a shell of its own, so that errexit holds in it.
check() {
	local what=$1 output status=0
	shift
	output=$(mktemp)
	(
		set -euo pipefail
		"$@"
	) >"$output" 2>&1 &
	wait "$!" || status=$?
	if ((status == 0)); then
		echo "ok      $what"
		passed=$((passed + 1))
	else
		echo "FAILED  $what"
		sed 's/^/        /' "$output"
		failed=$((failed + 1))
	fi
	rm -f "$output"
}

test_kube() {
	kube --namespace "$NAMESPACE" "$@"
}

apply() {
	sed "s|@BASE_SUITE@|$BASE_SUITE|" "$HERE/test/$1.yaml" | kube apply -f -
}

node_is_ready() {
	kube wait --for condition=Ready --timeout 10s "node/$NODE_NAME"
}

defaults_admit_volumes_and_policies() {
	[[ $(kube get storageclass -o jsonpath='{.items[?(@.metadata.annotations.storageclass\.kubernetes\.io/is-default-class=="true")].metadata.name}') == local-path ]]
	kube api-resources --api-group admissionregistration.k8s.io -o name | grep -q validatingadmissionpolicies
}

restricted_pods_only() {
	! test_kube run root --image "localhost/simbdp-local/base:$BASE_SUITE" --dry-run=server
}

volume_is_written() {
	apply volume
	test_kube rollout status --timeout 90s statefulset/v
	[[ $(test_kube exec v-0 -- id -u) == 999 ]]
	[[ $(test_kube exec v-0 -- cat /data/starts) == started ]]
}

name_resolves() {
	[[ $(test_kube exec v-0 -- getent hosts "v-0.v.$NAMESPACE.svc.cluster.local" | awk '{ print $1 }') == \
		$(test_kube get pod v-0 -o jsonpath='{.status.podIP}') ]]
}

ring_forms() {
	apply cassandra
	test_kube rollout status --timeout 240s statefulset/c
	[[ $(test_kube exec c-0 -- cat /proc/1/comm) == java ]]
	[[ $(test_kube exec c-2 -- nodetool status | grep -c '^UN ') == 3 ]]
}

volume_outlives_restart() {
	wait_for 60 "the pod's second start" second_start
}

second_start() {
	[[ $(test_kube exec v-0 -- grep -c started /data/starts) == 2 ]]
}

recovers_from_kill() {
	local name pid
	for name in "${SERVERS[@]}" containerd; do
		if pid=$(pid_of "$name"); then
			kill -KILL "$pid"
		fi
	done
	kill_shims
	kill_pods
	"$HERE/up.sh"
	node_is_ready
}

repeats_quickly() {
	local start=$SECONDS
	"$HERE/up.sh"
	((SECONDS - start <= 10))
}

volume_is_removed() {
	local directory
	directory=$(find "$STATE/volumes" -mindepth 1 -maxdepth 1 -name "*_${NAMESPACE}_data-v-0")
	[[ -d $directory ]]
	kube delete --timeout 120s namespace "$NAMESPACE"
	wait_for 60 "the volume's removal" test ! -e "$directory"
}

nothing_is_left() {
	"$HERE/down.sh"
	local left
	left=$({
		# A dead child that nobody has waited for holds nothing.
		for name in "${SERVERS[@]}" containerd; do pid_of "$name" || true; done
		pod_processes
		mounts_below "$RUN" "$STATE"
		ip -o link show | grep -E " ($BRIDGE|veth[0-9a-f]+)[@:]" || true
		find /sys/fs/cgroup -name kubepods
		nft list tables | grep kube-proxy || true
		find /var/lib/cni/results -name 'simbdp-local-*' 2>/dev/null || true
		find /run/netns -name 'cni-*' 2>/dev/null || true
		grep simbdp /etc/hosts || true
		find "$RUN" "$STATE" "$KUBECONFIG_FILE" -maxdepth 0 2>/dev/null || true
		local_programs
	})
	if [[ -n $left ]]; then
		echo "left: $left"
		return 1
	fi
}

# local_programs: what still runs of our programs or helpers.
local_programs() {
	local file
	for file in /proc/[0-9]*/exe; do
		if [[ $(readlink "$file" 2>/dev/null) == "$BIN"/* ]]; then
			tr '\0' ' ' <"${file%exe}cmdline"
		fi
	done
}

comes_up_again() {
	"$HERE/up.sh"
	node_is_ready
}

if uses_current_cluster; then
	fail "this tests the local cluster: unset SIMBDP_CLUSTER"
fi
"$HERE/up.sh"
"$HERE/images.sh" cassandra
kube delete --ignore-not-found --timeout 120s namespace "$NAMESPACE"
kube apply -f "$HERE/test/namespace.yaml"
check "the node is ready" node_is_ready
check "default volumes and admission policies" defaults_admit_volumes_and_policies
check "the restricted level refuses a pod that may be root" restricted_pods_only
check "a restricted pod writes to a dynamic volume" volume_is_written
check "a headless Service's names resolve" name_resolves
check "three Cassandra nodes form a ring" ring_forms
if [[ ${1:-} != live ]]; then
	check "up recovers from a kill of every process" recovers_from_kill
	check "volumes outlive it" volume_outlives_restart
	check "up again takes seconds" repeats_quickly
fi
check "a deleted claim's volume is removed" volume_is_removed
if [[ ${1:-} != live ]]; then
	check "down leaves nothing" nothing_is_left
	check "and it comes up again" comes_up_again
	"$HERE/down.sh"
fi
echo "$passed passed, $failed failed"
((failed == 0))
