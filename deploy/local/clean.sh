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
	remove_strays "$1"
	rm -rf "$RUN"
}

# pod_processes: the pids in the cgroups of pods. Cgroups come to their end while they are read.
pod_processes() {
	{ find /sys/fs/cgroup -path '*/kubepods/*' -name cgroup.procs -exec cat {} + 2>/dev/null || true; } | sort -un
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

# remove_strays STATE_DIRECTORY: what lies at places that cannot be configured.
remove_strays() {
	local socket
	# Helper processes' sockets; those that nothing listens on are dead, whoever's.
	for socket in /run/containerd/s/*; do
		if [[ -S $socket ]] && ! ss -xlH "src $socket" | grep -q .; then
			rm -f "$socket"
		fi
	done
	find /var/log/containers -lname "$1/pod-logs/*" -delete 2>/dev/null || true
	rm -f /var/lib/kubelet/device-plugins/kubelet.sock
	rmdir /run/containerd/s /run/containerd/runc/k8s.io /run/containerd/runc /run/containerd \
		/var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
	if [[ -f $RUN/ip_forward ]]; then
		sysctl -qw "net.ipv4.ip_forward=$(<"$RUN/ip_forward")"
	fi
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
		for namespace in $(jq -r '.result.interfaces[]?.sandbox // empty' "$file"); do
			umount -l "$namespace" 2>/dev/null || true
			rm -f "$namespace"
		done
		container=$(jq -r '.containerId // empty' "$file")
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
