# shellcheck shell=bash disable=SC2034,SC2054 # COMMAND is read by those who call these; commas are values
# The commands of a control plane's servers, each put in COMMAND. DIRECTORY holds
# their state and the keys that pki.sh made.

# etcd_command DIRECTORY PORT
etcd_command() {
	# A single member needs no peer address that others can reach: any free port does.
	# The state is worth no more than this machine's uptime, so no fsync.
	COMMAND=("$BIN/etcd" --data-dir "$1/etcd" --unsafe-no-fsync --log-level warn
		--listen-client-urls "http://127.0.0.1:$2" --advertise-client-urls "http://127.0.0.1:$2"
		--listen-peer-urls http://127.0.0.1:0)
}

# apiserver_command DIRECTORY PORT ETCD_PORT
apiserver_command() {
	local keys=$1/pki
	COMMAND=("$BIN/kube-apiserver" --etcd-servers "http://127.0.0.1:$3" --secure-port "$2"
		--tls-cert-file "$keys/apiserver.crt" --tls-private-key-file "$keys/apiserver.key"
		--client-ca-file "$keys/ca.crt" --authorization-mode Node,RBAC --allow-privileged
		--enable-admission-plugins NodeRestriction
		--service-cluster-ip-range "$SERVICE_CIDR"
		--service-account-issuer https://kubernetes.default.svc.cluster.local
		--service-account-key-file "$keys/service-account.pub"
		--service-account-signing-key-file "$keys/service-account.key"
		--requestheader-client-ca-file "$keys/front-proxy-ca.crt"
		--requestheader-allowed-names front-proxy-client
		--requestheader-extra-headers-prefix X-Remote-Extra-
		--requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User
		--proxy-client-cert-file "$keys/front-proxy-client.crt"
		--proxy-client-key-file "$keys/front-proxy-client.key"
		--enable-aggregator-routing
		--kubelet-certificate-authority "$keys/ca.crt"
		--kubelet-client-certificate "$keys/kubelet-client.crt"
		--kubelet-client-key "$keys/kubelet-client.key"
		--kubelet-preferred-address-types InternalIP)
}

# controller_manager_command DIRECTORY PORT (0: serve neither metrics nor health)
controller_manager_command() {
	local keys=$1/pki
	COMMAND=("$BIN/kube-controller-manager" --kubeconfig "$1/controller-manager.kubeconfig"
		--secure-port "$2" --bind-address 127.0.0.1 --leader-elect=false
		--use-service-account-credentials --kube-api-qps 500 --kube-api-burst 500
		--service-account-private-key-file "$keys/service-account.key" --root-ca-file "$keys/ca.crt"
		--cluster-signing-cert-file "$keys/ca.crt" --cluster-signing-key-file "$keys/ca.key")
}

# scheduler_command DIRECTORY
scheduler_command() {
	COMMAND=("$BIN/kube-scheduler" --kubeconfig "$1/scheduler.kubeconfig"
		--bind-address 127.0.0.1 --leader-elect=false)
}

# api_answers KUBECONFIG
api_answers() {
	"$BIN/kubectl" --kubeconfig "$1" get --raw /readyz
}
