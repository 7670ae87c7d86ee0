#!/usr/bin/env bash
# Installs what Debian has and compiles the rest; what is up to date is skipped.
# 'build.sh packages' does the former alone, 'build.sh control-plane' compiles what an API server without a node needs,
# 'build.sh helm' helm, 'build.sh connectivity' the analyser of network policies.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

export GOMODCACHE=$CACHE/gomod GOCACHE=$CACHE/gobuild GOFLAGS=-mod=readonly GOWORK=off
# The registry's modules may ask for a newer Go than the one installed; go fetches it.
export GOTOOLCHAIN=auto
# The compiler collects garbage for a third of its time by default; memory is there.
export GOGC=off GOMEMLIMIT=6GiB

# One Go module of all programs: what they share is compiled once.
readonly PROGRAMS=$HERE/programs
KUBE_NAMES=(etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet)

# PROGRAM=PACKAGE, or FILE=PACKAGE: what must be on the machine.
DEBIAN_PROGRAMS=(containerd=containerd runc=runc nft=nftables iptables=iptables conntrack=conntrack
	ip=iproute2 jq=jq unzip=unzip openssl=openssl buildah=buildah debootstrap=debootstrap skopeo=skopeo umoci=umoci
	/usr/lib/cni/bridge=containernetworking-plugins /usr/include/openssl/ssl.h=libssl-dev pkg-config=pkg-config)

missing_packages() {
	local pair
	for pair in "${DEBIAN_PROGRAMS[@]}"; do
		if [[ ! -e ${pair%%=*} ]] && ! command -v "${pair%%=*}" >/dev/null; then
			echo "${pair#*=}"
		fi
	done
}

install_packages() {
	local packages
	mapfile -t packages < <(missing_packages)
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
}

# check_pin MODULE VERSION: go.mod and versions.env must agree.
check_pin() {
	grep -qE "^(require )?[[:space:]]*$1 v${2//./\\.}( |\$)" "$PROGRAMS/go.mod" ||
		fail "deploy/local/programs/go.mod does not require $1 v$2, which versions.env names"
}

# compile NAME PACKAGE [LDFLAGS]: static, since images hold nothing else, and without what only a debugger reads.
compile() {
	cd "$PROGRAMS"
	CGO_ENABLED=0 go build -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w ${3:-}" -o "$BIN/$1.new" "$2"
	mv "$BIN/$1.new" "$BIN/$1"
}

# build NAME PACKAGE [LDFLAGS]: compiles it if anything it is made of changed.
build() {
	local sources=("$PROGRAMS/go.mod" "$PROGRAMS/go.sum") stamp
	if [[ $2 == ./* ]]; then
		sources+=("$PROGRAMS/${2#./}")
	fi
	stamp=$(printf '%s %s %s\n' "$(digest_of "${sources[@]}")" "$2" "${3:-}")
	if [[ -x $BIN/$1 && $(cat "$BIN/.$1" 2>/dev/null) == "$stamp" ]]; then
		return
	fi
	step "compile $1" compile "$@"
	echo "$stamp" >"$BIN/.$1"
}

build_kube() {
	local version=k8s.io/component-base/version name
	check_pin k8s.io/kubernetes "$KUBERNETES_VERSION"
	check_pin go.etcd.io/etcd/server/v3 "$ETCD_VERSION"
	build kube ./kube "-X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitTreeState=clean
		-X $version.gitMajor=${KUBERNETES_VERSION%%.*} -X $version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
	for name in "${KUBE_NAMES[@]}"; do
		ln -sf kube "$BIN/$name"
	done
}

build_others() {
	check_pin github.com/coredns/coredns "$COREDNS_VERSION"
	check_pin github.com/rancher/local-path-provisioner "$LOCAL_PATH_VERSION"
	build pause ./pause
	build coredns ./coredns
	build local-path-provisioner github.com/rancher/local-path-provisioner
}

build_helm() {
	check_pin helm.sh/helm/v4 "$HELM_VERSION"
	local capabilities=helm.sh/helm/v4/pkg/chart/common
	build helm helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=v$HELM_VERSION
		-X $capabilities.k8sVersionMajor=${KUBERNETES_VERSION%%.*} -X $capabilities.k8sVersionMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
}

build_connectivity() {
	check_pin github.com/mattfenwick/cyclonus "$CYCLONUS_VERSION"
	build connectivity ./connectivity
}

build_packages() {
	if [[ -n $(missing_packages) ]]; then
		step "install Debian packages" install_packages
	fi
}

case ${1:-all} in
all)
	build_packages
	build_kube
	build_others
	build_helm
	;;
packages) build_packages ;;
control-plane) build_kube ;;
helm) build_helm ;;
connectivity) build_connectivity ;;
*) fail "'$1' is none of packages, control-plane, helm and connectivity" ;;
esac
