#!/bin/bash
# kafka-run-class.sh CLASS ARGUMENT...: Java with Kafka's jars. It becomes the process that it is called by.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOG_DIR=${LOG_DIR:-$home/logs}
read -ra heap <<<"${KAFKA_HEAP_OPTS:--Xmx256M}"
read -ra performance <<<"${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC -Djava.awt.headless=true}"
read -ra logging <<<"${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=$home/config/tools-log4j2.yaml}"
read -ra options <<<"${KAFKA_OPTS:-}"
exec java "${heap[@]}" "${performance[@]}" "-Dkafka.logs.dir=$LOG_DIR" "${logging[@]}" "${options[@]}" \
	-cp "$home/libs/*" "$@"
