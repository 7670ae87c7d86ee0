#!/usr/bin/env bash
# Brings the local cluster up, building what is missing. Safe to repeat: it starts
# only what does not run, so it also repairs a cluster whose processes were killed.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=process.sh
source "$HERE/process.sh"
# shellcheck source=pki.sh
source "$HERE/pki.sh"
# shellcheck source=control-plane.sh
source "$HERE/control-plane.sh"
# shellcheck source=node.sh
source "$HERE/node.sh"
# shellcheck source=clean.sh
source "$HERE/clean.sh"

ETCD_PORT=2379

# take_over: removes what a cluster of another checkout left, and records ours.
take_over() {
	local other
	other=$(owner)
	if [[ $other != "$STATE" ]]; then
		clean_cluster "${other:-$STATE}"
	fi
	mkdir -p "$RUN" "$STATE"
	echo "$STATE" >"$RUN/owner"
}

check_room() {
	[[ $(id -u) == 0 ]] || fail "a node needs root; use SIMBDP_CLUSTER=current with a cluster of your own"
	# The longest socket below it; Linux allows 107 characters.
	local socket=$STATE/kubelet/pod-resources/kubelet.sock
	((${#socket} <= 107)) || fail "$LOCAL is too long a path for sockets; set SIMBDP_LOCAL_DIR to a shorter one"
}

start_control_plane() {
	if [[ ! -f $STATE/pki/complete ]]; then
		new_pki "$STATE" "$API_PORT"
	fi
	etcd_command "$STATE" "$ETCD_PORT"
	start etcd "${COMMAND[@]}"
	apiserver_command "$STATE" "$API_PORT" "$ETCD_PORT"
	start kube-apiserver "${COMMAND[@]}" --advertise-address "$NODE_IP"
	install -m 0600 "$STATE/admin.kubeconfig" "$KUBECONFIG_FILE"
	wait_for 90 "the API server; see $LOG/kube-apiserver.log" api_answers "$KUBECONFIG_FILE"
	controller_manager_command "$STATE" 10257
	start kube-controller-manager "${COMMAND[@]}"
	scheduler_command "$STATE"
	start kube-scheduler "${COMMAND[@]}"
}

start_node() {
	start_containerd
	"$HERE/load.sh" pause coredns local-path base
	start_kubelet
}

apply_addons() {
	local file
	for file in "$HERE"/addons/*.yaml; do
		sed -e "s|@COREDNS_VERSION@|$COREDNS_VERSION|; s|@LOCAL_PATH_VERSION@|$LOCAL_PATH_VERSION|" \
			-e "s|@BASE_SUITE@|$BASE_SUITE|; s|@VOLUMES@|$STATE/volumes|; s|@DNS_SERVICE_IP@|$DNS_SERVICE_IP|" "$file" |
			kube apply --server-side --force-conflicts -f -
	done
}

wait_until_ready() {
	wait_for 60 "the node to register" kube get node "$NODE_NAME"
	kube wait --for condition=Ready --timeout 90s "node/$NODE_NAME"
	# After a kill the API still shows the pods' last state: an answer does not lie.
	wait_for 90 "DNS" timeout 1 bash -c "</dev/tcp/$DNS_SERVICE_IP/53"
	kube --namespace kube-system rollout status --timeout 120s deployment/coredns
	kube --namespace local-path-storage rollout status --timeout 120s deployment/local-path-provisioner
}

# load_rest: all other images, where they have been built.
load_rest() {
	local name
	for name in "${SERVER_IMAGES[@]}" "${PRODUCT_IMAGES[@]}"; do
		if [[ -f $IMAGES/$name.stamp ]]; then
			"$HERE/load.sh" "$name"
		fi
	done
}

if uses_current_cluster; then
	kubectl --request-timeout 10s get --raw /readyz >/dev/null || fail "the cluster of the current kubeconfig does not answer"
	say "the cluster of the current kubeconfig answers"
	exit 0
fi
check_room
"$HERE/build.sh"
"$HERE/images.sh" pause coredns local-path base
step "clear what other checkouts left" take_over
step "prepare the node" prepare_node
step "start the control plane" start_control_plane
step "start the node" start_node
step "apply DNS and volumes" apply_addons
step "wait until the node is ready" wait_until_ready
step "load images" load_rest
say "ready after $SECONDS s: export KUBECONFIG=$KUBECONFIG_FILE"
