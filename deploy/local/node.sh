# shellcheck shell=bash
# The one node: containerd, kubelet and kube-proxy with their configuration.

# prepare_node: the network and the configuration files.
prepare_node() {
	mkdir -p "$RUN/containerd" "$STATE/cni" "$STATE/kubelet" "$STATE/volumes"
	prepare_bridge
	if [[ ! -f $RUN/ip_forward ]]; then
		sysctl -n net.ipv4.ip_forward >"$RUN/ip_forward"
	fi
	sysctl -qw net.ipv4.ip_forward=1
	# Replies between two pods of the node must pass kube-proxy's translation too.
	modprobe br_netfilter 2>/dev/null || true
	sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
	write_cni_config
	write_containerd_config
	write_kubelet_config
	write_proxy_config
}

# prepare_bridge: made before any pod exists, since its address is the node's.
prepare_bridge() {
	if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
		ip link add "$BRIDGE" type bridge
	fi
	ip address replace "$NODE_IP/${POD_CIDR#*/}" dev "$BRIDGE"
	ip link set "$BRIDGE" up
}

write_cni_config() {
	cat >"$STATE/cni/10-bridge.conflist" <<-END
		{
		  "cniVersion": "1.0.0",
		  "name": "simbdp-local",
		  "plugins": [{
		    "type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "hairpinMode": true,
		    "ipam": {
		      "type": "host-local", "dataDir": "$RUN/addresses",
		      "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]
		    }
		  }]
		}
	END
}

write_containerd_config() {
	# Without CAP_SYS_RESOURCE an OOM score cannot be lowered: restrict_oom_score_adj.
	cat >"$STATE/containerd.toml" <<-END
		version = 2
		root = "$STATE/containerd"
		state = "$RUN/containerd"
		oom_score = 0
		[grpc]
		  address = "$CONTAINERD_SOCKET"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "localhost/simbdp-local/pause:$PAUSE_VERSION"
		  restrict_oom_score_adj = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$STATE/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    snapshotter = "overlayfs"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		      runtime_type = "io.containerd.runc.v2"
		      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		        Root = "$RUN/runc"
	END
}

write_kubelet_config() {
	# Pods get a resolver of their own; a lookup outside the cluster has nowhere to go.
	echo "nameserver $NODE_IP" >"$STATE/resolv.conf"
	cat >"$STATE/kubelet.yaml" <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: $STATE/pki/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: $STATE/pki/node.crt
		tlsPrivateKeyFile: $STATE/pki/node.key
		containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
		cgroupDriver: cgroupfs
		failCgroupV1: false
		failSwapOn: false
		makeIPTablesUtilChains: false
		oomScoreAdj: 0
		clusterDNS: [$DNS_SERVICE_IP]
		clusterDomain: cluster.local
		resolvConf: $STATE/resolv.conf
		podLogsDir: $STATE/pod-logs
		maxPods: 110
		serializeImagePulls: false
		# A disk that is nearly full for a moment would cost the images that nothing runs yet, and nobody loads them again.
		evictionHard: {memory.available: 200Mi}
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
		shutdownGracePeriod: 0s
	END
}

write_proxy_config() {
	cat >"$STATE/kube-proxy.yaml" <<-END
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: nftables
		clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
		clusterCIDR: $POD_CIDR
		hostnameOverride: $NODE_NAME
		conntrack: {maxPerCore: 0}
		oomScoreAdj: 0
	END
}

start_containerd() {
	start containerd containerd --config "$STATE/containerd.toml"
	wait_for 30 "containerd" ctr_local version
}

# start_kubelet: needs containerd to answer, or it exits.
start_kubelet() {
	start kubelet "$BIN/kubelet" --config "$STATE/kubelet.yaml" --root-dir "$STATE/kubelet" \
		--kubeconfig "$STATE/node.kubeconfig" --hostname-override "$NODE_NAME" --node-ip "$NODE_IP"
	start kube-proxy "$BIN/kube-proxy" --config "$STATE/kube-proxy.yaml"
}
