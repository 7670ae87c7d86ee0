#!/bin/bash
# Prepares what 'cassandra' is started with from CASSANDRA_* variables; any other
# command is run as it is. As root it steps down to the user cassandra.
set -euo pipefail

if [[ $# == 0 || $1 == -* ]]; then
	set -- cassandra -f "$@"
fi

if [[ $1 == cassandra && $(id -u) == 0 ]]; then
	find "$CASSANDRA_CONF" /var/lib/cassandra /var/log/cassandra ! -user cassandra -exec chown cassandra '{}' +
	exec setpriv --reuid cassandra --regid cassandra --clear-groups "$0" "$@"
fi

# set_setting FILE NAME SEPARATOR VALUE: replaces the setting or adds it. By way of
# memory: the directory may be one where no file can be created.
set_setting() {
	local text
	text=$(awk -v name="$2" -v line="$2$3$4" '
		index($0, name) == 1 && substr($0, length(name) + 1) ~ /^ *[:=]/ { print line; done = 1; next }
		{ print }
		END { if (!done) print line }' "$1")
	printf '%s\n' "$text" >"$1"
}

if [[ $1 == cassandra ]]; then
	yaml=$CASSANDRA_CONF/cassandra.yaml
	address=$(hostname -i | awk '{ print $1 }')
	listen=${CASSANDRA_LISTEN_ADDRESS:-auto}
	listen=${listen/#auto/$address}
	broadcast=${CASSANDRA_BROADCAST_ADDRESS:-$listen}
	set_setting "$yaml" listen_address ': ' "$listen"
	set_setting "$yaml" broadcast_address ': ' "$broadcast"
	set_setting "$yaml" rpc_address ': ' "${CASSANDRA_RPC_ADDRESS:-0.0.0.0}"
	set_setting "$yaml" broadcast_rpc_address ': ' "${CASSANDRA_BROADCAST_RPC_ADDRESS:-$broadcast}"
	for name in CLUSTER_NAME NUM_TOKENS ENDPOINT_SNITCH; do
		variable=CASSANDRA_$name
		if [[ -n ${!variable:-} ]]; then
			set_setting "$yaml" "${name,,}" ': ' "${!variable}"
		fi
	done
	set_setting "$yaml" '      - seeds' ': ' "\"${CASSANDRA_SEEDS:-$broadcast}\""
	for name in DC RACK; do
		variable=CASSANDRA_$name
		if [[ -n ${!variable:-} ]]; then
			set_setting "$CASSANDRA_CONF/cassandra-rackdc.properties" "${name,,}" = "${!variable}"
		fi
	done
fi

exec "$@"
