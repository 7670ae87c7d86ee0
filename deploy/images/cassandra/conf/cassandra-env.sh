# shellcheck shell=bash
# Adds to OPTIONS what depends on the machine and on the environment.

if [[ -z ${MAX_HEAP_SIZE:-} ]]; then
	# max(min(memory / 2, 1 GiB), min(memory / 4, 8 GiB)), of the node's memory, not
	# of the container's limit.
	megabytes=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
	half=$((megabytes / 2 < 1024 ? megabytes / 2 : 1024))
	quarter=$((megabytes / 4 < 8192 ? megabytes / 4 : 8192))
	MAX_HEAP_SIZE=$((half > quarter ? half : quarter))M
fi
export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-4}

mkdir -p "$CASSANDRA_LOG_DIR"
OPTIONS+=(-Xms"$MAX_HEAP_SIZE" -Xmx"$MAX_HEAP_SIZE"
	"-Xlog:gc=info,heap*=trace,age*=debug,safepoint=info:file=$CASSANDRA_LOG_DIR/gc.log:time,uptime,pid,tid,level:filecount=10,filesize=10485760"
	"-javaagent:$(echo "$CASSANDRA_HOME"/lib/jamm-*.jar)"
	"-XX:OnOutOfMemoryError=kill -9 %p")
if [[ -n ${CASSANDRA_HEAPDUMP_DIR:-} ]]; then
	OPTIONS+=("-XX:HeapDumpPath=$CASSANDRA_HEAPDUMP_DIR/cassandra-$(date +%s)-pid$$.hprof")
fi

if [[ ${LOCAL_JMX:-yes} == yes ]]; then
	OPTIONS+=(-Dcassandra.jmx.local.port=7199)
else
	OPTIONS+=(-Dcassandra.jmx.remote.port=7199 -Dcom.sun.management.jmxremote.rmi.port=7199
		-Dcom.sun.management.jmxremote.authenticate=true
		-Dcom.sun.management.jmxremote.password.file=/etc/cassandra/jmxremote.password)
fi

# Last, so that it overrides the rest.
read -r -a extra <<<"${JVM_EXTRA_OPTS:-}"
OPTIONS+=("${extra[@]}")
