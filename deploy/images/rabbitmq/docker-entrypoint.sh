#!/bin/bash
# Runs the command; RabbitMQ's own programs as the user rabbitmq if called as root.
set -euo pipefail

if [[ $1 == rabbitmq* && $(id -u) == 0 ]]; then
	if [[ $1 == rabbitmq-server ]]; then
		find "$RABBITMQ_DATA_DIR" ! -user rabbitmq -exec chown rabbitmq '{}' +
	fi
	exec setpriv --reuid rabbitmq --regid rabbitmq --clear-groups "$0" "$@"
fi

# Variables that the official image dropped: better to stop than to ignore them.
for name in "${!RABBITMQ_@}"; do
	case $name in
	RABBITMQ_DEFAULT_*_FILE | RABBITMQ_*_SSL_* | RABBITMQ_SSL_* | RABBITMQ_VM_MEMORY_HIGH_WATERMARK)
		echo "error: $name is set but deprecated; use a configuration file instead" >&2
		exit 1
		;;
	esac
done

exec "$@"
