#!/bin/bash
# Formats a directory that is empty and starts the server as /opt/kafka/config/server.properties says; any command is run as it is.
set -euo pipefail
if (($# > 0)); then
	exec "$@"
fi
config=/opt/kafka/config/server.properties
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" --config "$config"
exec /opt/kafka/bin/kafka-server-start.sh "$config"
