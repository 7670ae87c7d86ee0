# shellcheck shell=bash
# Keys, certificates and kubeconfigs of a control plane. All private keys stay in files.

# new_authority DIRECTORY NAME
new_authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-config "$1/openssl.cnf" -extensions authority -subj "/CN=$2" \
		-keyout "$1/$2.key" -out "$1/$2.crt"
}

# new_certificate DIRECTORY AUTHORITY NAME SUBJECT [ALTERNATIVE_NAMES]
new_certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-config "$1/openssl.cnf" -extensions leaf -subj "$4" -addext "subjectAltName=${5:-DNS:localhost}" \
		-CA "$1/$2.crt" -CAkey "$1/$2.key" -keyout "$1/$3.key" -out "$1/$3.crt"
}

# new_kubeconfig FILE KEY_DIRECTORY NAME PORT
new_kubeconfig() {
	cat >"$1" <<-END
		apiVersion: v1
		kind: Config
		current-context: local
		contexts: [{name: local, context: {cluster: local, user: $3}}]
		clusters:
		- name: local
		  cluster:
		    server: https://127.0.0.1:$4
		    certificate-authority-data: $(base64 -w0 "$2/ca.crt")
		users:
		- name: $3
		  user:
		    client-certificate-data: $(base64 -w0 "$2/$3.crt")
		    client-key-data: $(base64 -w0 "$2/$3.key")
	END
}

# new_pki DIRECTORY PORT: all of it, for an API server on PORT of this machine.
new_pki() {
	local keys=$1/pki name
	rm -rf "$keys"
	mkdir -p "$keys"
	cat >"$keys/openssl.cnf" <<-END
		[req]
		distinguished_name = subject
		[subject]
		[authority]
		basicConstraints = critical, CA:TRUE
		keyUsage = critical, keyCertSign, cRLSign
		[leaf]
		basicConstraints = critical, CA:FALSE
		keyUsage = critical, digitalSignature
		extendedKeyUsage = serverAuth, clientAuth
	END
	new_authority "$keys" ca
	new_authority "$keys" front-proxy-ca
	new_certificate "$keys" ca apiserver /CN=kube-apiserver "$(apiserver_names)"
	new_certificate "$keys" ca kubelet-client /CN=kube-apiserver-kubelet-client
	new_certificate "$keys" ca admin /O=system:masters/CN=admin
	new_certificate "$keys" ca controller-manager /CN=system:kube-controller-manager
	new_certificate "$keys" ca scheduler /CN=system:kube-scheduler
	new_certificate "$keys" ca proxy /CN=system:kube-proxy
	new_certificate "$keys" ca node "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:127.0.0.1,IP:$NODE_IP"
	new_certificate "$keys" front-proxy-ca front-proxy-client /CN=front-proxy-client
	openssl ecparam -name prime256v1 -genkey -noout -out "$keys/service-account.key"
	openssl ec -in "$keys/service-account.key" -pubout -out "$keys/service-account.pub"
	for name in admin controller-manager scheduler proxy node; do
		new_kubeconfig "$1/$name.kubeconfig" "$keys" "$name" "$2"
	done
	touch "$keys/complete"
}

apiserver_names() {
	local service=kubernetes.default.svc
	echo "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$KUBERNETES_SERVICE_IP"
}
