#!/usr/bin/env bash
# images.sh [NAME...]: builds images and gives them to the node, if one runs. With SIMBDP_CLUSTER=current those that no
# registry has go to the one that SIMBDP_REGISTRY names, by skopeo and its login.
# What an image is made of is hashed; an unchanged image is not built again.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=rootfs.sh
source "$HERE/rootfs.sh"
# shellcheck source=contexts.sh
source "$HERE/contexts.sh"

FILES=$ROOT/deploy/images
SAMPLES=$ROOT/deploy/samples/apps

# reference NAME: the name by which pods ask for the image.
reference() {
	case $1 in
	pause) echo "localhost/simbdp-local/pause:$PAUSE_VERSION" ;;
	coredns) echo "localhost/simbdp-local/coredns:$COREDNS_VERSION" ;;
	local-path) echo "localhost/simbdp-local/local-path:$LOCAL_PATH_VERSION" ;;
	base) echo "localhost/simbdp-local/base:$BASE_SUITE" ;;
	base-rabbitmq) echo "localhost/simbdp-local/base:$RABBITMQ_SUITE" ;;
	cassandra) echo "docker.io/library/cassandra:$CASSANDRA_TAG" ;;
	mongodb) echo "docker.io/library/mongo:$MONGODB_TAG" ;;
	rabbitmq) echo "docker.io/library/rabbitmq:$RABBITMQ_TAG" ;;
	kafka) echo "docker.io/apache/kafka:$KAFKA_TAG" ;;
	simbdp) echo "docker.io/simbdp/simbdp:$(product_version)" ;;
	client*ingestapp) echo "docker.io/simbdp/$1:0.1.0" ;;
	*) fail "there is no image called '$1'" ;;
	esac
}

# base_of NAME: the image it is built on, if that is one of ours.
base_of() {
	case $1 in
	cassandra | kafka | mongodb | simbdp | client*ingestapp) echo base ;;
	rabbitmq) echo base-rabbitmq ;;
	esac
}

# dockerfile_of NAME: both Debian bases are made by the same file; tenants' own apps are samples.
dockerfile_of() {
	case $1 in
	client*ingestapp) echo "$SAMPLES/$1/Dockerfile" ;;
	*) echo "$FILES/${1/base-rabbitmq/base}/Dockerfile" ;;
	esac
}

builder() {
	buildah --root "$CACHE/buildah" --runroot "$CACHE/buildah-run" --storage-driver overlay "$@"
}

# make_image NAME BASE: from its context to an archive.
make_image() {
	local name=$1 base=${2:-} ref archive=$IMAGES/$1.tar arguments=()
	ref=$(reference "$name")
	"context_${name//-/_}" "$IMAGES/$name"
	if [[ -n $base ]]; then
		arguments=(--build-arg "BASE=$(reference "$base")")
	fi
	builder bud --isolation chroot --layers --pull-never "${arguments[@]}" \
		--file "$(dockerfile_of "$name")" --tag "$ref" "$IMAGES/$name"
	rm -f "$archive"
	# Not compressed: it never leaves this machine, and time is dearer than space.
	builder push "$ref" "docker-archive:$archive:$ref"
	# Layers of earlier builds.
	builder rmi --prune >/dev/null || true
}

# build_image NAME: after its base, if anything that it is made of changed.
build_image() {
	local name=$1 base stamp
	base=$(base_of "$name")
	if [[ -n $base ]]; then
		build_image "$base"
	fi
	stamp=$({
		reference "$name"
		digest_of "$(dockerfile_of "$name")"
		"inputs_${name//-/_}"
		if [[ -n $base ]]; then
			cat "$IMAGES/$base.stamp"
		fi
	} | sha256sum | cut -c1-16)
	if [[ -f $IMAGES/$name.tar && $(cat "$IMAGES/$name.stamp" 2>/dev/null) == "$stamp" ]]; then
		return
	fi
	rm -f "$IMAGES/$name.stamp"
	step "build image $name" make_image "$name" "$base"
	echo "$stamp" >"$IMAGES/$name.stamp"
}

# release_storage: buildah leaves its store mounted on itself.
release_storage() {
	umount "$CACHE/buildah/overlay" 2>/dev/null || true
}

"$HERE/build.sh"
trap release_storage EXIT
names=("$@")
if ((${#names[@]} == 0)); then
	names=("${PRODUCT_IMAGES[@]}")
	# The databases and brokers of a cluster with registries are the official images.
	uses_current_cluster || names+=("${SERVER_IMAGES[@]}")
fi
for name in "${names[@]}"; do
	if [[ $name == simbdp ]]; then
		build_programs
	fi
	build_image "$name"
done
if uses_current_cluster; then
	for name in "${names[@]}"; do
		if [[ -n ${SIMBDP_REGISTRY:-} && $name == @(simbdp|client*ingestapp) ]]; then
			reference=$(reference "$name")
			step "push $name to $SIMBDP_REGISTRY" skopeo copy \
				"docker-archive:$IMAGES/$name.tar" "docker://$SIMBDP_REGISTRY/${reference##*/}"
		fi
	done
elif [[ $(cat "$RUN/owner" 2>/dev/null) == "$STATE" ]]; then
	step "load ${names[*]}" "$HERE/load.sh" "${names[@]}"
fi
