#!/usr/bin/env bash
# load.sh NAME...: gives the node the archives of these images, where they changed.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

LOADED=$STATE/loaded

# The tag is the same: an operator that runs already would go on as it was.
restart_operator() {
	local kubectl=("$BIN/kubectl" --kubeconfig "$LOCAL/kubeconfig" --namespace simbdp-system)
	if "${kubectl[@]}" get deployment simbdp-operator >/dev/null 2>&1; then
		"${kubectl[@]}" rollout restart deployment/simbdp-operator
	fi
}

load() {
	local archive=$IMAGES/$1.tar stamp
	stamp=$(cat "$IMAGES/$1.stamp")
	if [[ $(cat "$LOADED/$1" 2>/dev/null) == "$stamp" ]]; then
		return
	fi
	ctr_local images import "$archive"
	if [[ $1 == simbdp ]]; then
		restart_operator
	fi
	mkdir -p "$LOADED"
	echo "$stamp" >"$LOADED/$1"
}

# One that another checkout started is not ours to fill: 'up' will take it down.
if [[ $(cat "$RUN/owner" 2>/dev/null) != "$STATE" ]] || ! ctr_local version >/dev/null 2>&1; then
	say "no local cluster runs: 'make cluster' will load the images"
	exit 0
fi
for name in "$@"; do
	load "$name"
done
