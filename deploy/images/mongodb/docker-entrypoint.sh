#!/bin/bash
# Runs the command; mongod as the user mongodb if called as root.
set -euo pipefail

if [[ $# == 0 || $1 == -* ]]; then
	set -- mongod "$@"
fi

if [[ $1 == mongo* && $(id -u) == 0 ]]; then
	find /data/configdb /data/db ! -user mongodb -exec chown mongodb '{}' +
	exec setpriv --reuid mongodb --regid mongodb --clear-groups "$0" "$@"
fi

# The official image makes a first user of these: better to stop than to ignore them.
if [[ -n ${MONGO_INITDB_ROOT_USERNAME:-}${MONGO_INITDB_ROOT_USERNAME_FILE:-} ]]; then
	echo 'error: MONGO_INITDB_ROOT_USERNAME is set, which this stand-in does not know' >&2
	exit 1
fi

exec "$@"
