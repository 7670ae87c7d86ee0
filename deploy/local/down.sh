#!/usr/bin/env bash
# Takes the local cluster down and removes its state; programs and images stay.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=process.sh
source "$HERE/process.sh"
# shellcheck source=clean.sh
source "$HERE/clean.sh"

take_down() {
	local other
	other=$(owner)
	clean_cluster "$STATE"
	if [[ -n $other && $other != "$STATE" ]]; then
		remove_mounts "$other"
	fi
	rm -rf "$STATE" "$KUBECONFIG_FILE"
}

if uses_current_cluster; then
	say "the cluster of the current kubeconfig is left as it is"
	exit 0
fi
step "take the local cluster down" take_down
