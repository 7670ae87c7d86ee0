#!/usr/bin/env bash
# unpack.sh NAME: an image's root file system under .local/rootfs/NAME, for tests that run its server without a
# cluster. Prints the directory.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

name=$1
archive=$IMAGES/$name.tar
root=$LOCAL/rootfs/$name
[[ -f $archive ]] || fail "$archive is not there: make image-$name builds it"
if ! cmp --quiet "$IMAGES/$name.stamp" "$root.stamp"; then
	layout=$(mktemp --directory)
	trap 'rm -rf "$layout"' EXIT
	rm -rf "$root" "$root.stamp"
	mkdir -p "${root%/*}"
	skopeo copy --quiet "docker-archive:$archive" "oci:$layout:image"
	umoci raw unpack --image "$layout:image" "$root" >&2
	cp "$IMAGES/$name.stamp" "$root.stamp"
fi
echo "$root"
