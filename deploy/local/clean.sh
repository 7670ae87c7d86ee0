# shellcheck shell=bash
# Takes a local cluster apart, also one that another checkout started or that was
# killed half way. Everything is found by what it is (a pid file, a cgroup, a mount
# below our directories), never by the name of a process.

SERVERS=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd)

# owner: the directory of the checkout whose cluster was last started here.
owner() {
	cat "$RUN/owner" 2>/dev/null || true
}

# clean_cluster STATE_DIRECTORY: all but the state itself.
clean_cluster() {
	local name
	for name in "${SERVERS[@]}"; do
		stop "$name"
	done
	kill_pods
	stop containerd
	kill_shims
	remove_network
	remove_mounts "$1"
	remove_cgroups
	rm -rf "$RUN"
}

# pod_processes: the pids in the cgroups of pods.
pod_processes() {
	find /sys/fs/cgroup -path '*/kubepods/*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

kill_pods() {
	local pids
	for _ in {1..100}; do
		pids=$(pod_processes)
		if [[ -z $pids ]]; then
			return
		fi
		xargs -r kill -KILL <<<"$pids" 2>/dev/null || true
		sleep 0.1
	done
	fail "pods' processes do not end: $pids"
}

# kill_shims: containerd's helper processes, which name our socket as an argument.
kill_shims() {
	local file pid
	for file in /proc/[0-9]*/cmdline; do
		if { tr '\0' '\n' <"$file"; } 2>/dev/null | grep -qxF "$CONTAINERD_SOCKET"; then
			pid=${file#/proc/}
			pid=${pid%/cmdline}
			if [[ $(readlink "/proc/$pid/exe") == */containerd-shim* ]]; then
				kill -KILL "$pid" 2>/dev/null || true
			fi
		fi
	done
}

remove_network() {
	remove_pod_namespaces
	local port
	for port in $(ip -o link show master "$BRIDGE" 2>/dev/null | sed -E 's/^[0-9]+: ([^:@]+).*/\1/'); do
		ip link delete "$port" 2>/dev/null || true
	done
	ip link delete "$BRIDGE" 2>/dev/null || true
	local family
	for family in ip ip6; do
		nft delete table "$family" kube-proxy 2>/dev/null || true
	done
}

# remove_pod_namespaces: those that the network plugin noted down for our network.
remove_pod_namespaces() {
	local results=/var/lib/cni/results file namespace container
	for file in "$results"/simbdp-local-*; do
		[[ -f $file ]] || continue
		namespace=$(jq -r '.netns // empty' "$file")
		container=$(jq -r '.containerId // empty' "$file")
		if [[ $namespace == /var/run/netns/cni-* || $namespace == /run/netns/cni-* ]]; then
			umount -l "$namespace" 2>/dev/null || true
			rm -f "$namespace"
		fi
		rm -f "$file" "$results"/cni-loopback-"$container"-lo
	done
	rmdir "$results" /var/lib/cni/cache /var/lib/cni /run/netns 2>/dev/null || true
}

# remove_mounts STATE_DIRECTORY: deepest first.
remove_mounts() {
	local target
	while read -r target; do
		umount -l "$target" 2>/dev/null || true
	done < <(mounts_below "$RUN" "$1" | sort -r)
}

# mounts_below DIRECTORY...: mount points at or below them.
mounts_below() {
	local directory
	for directory in "$@"; do
		[[ -n $directory ]] || continue
		awk -v at="$directory" '$5 == at || index($5, at "/") == 1 { print $5 }' /proc/self/mountinfo
	done
}

remove_cgroups() {
	local cgroup
	for cgroup in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
		[[ -d $cgroup ]] || continue
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
}
