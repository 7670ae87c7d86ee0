# shellcheck shell=bash disable=SC2034 # sourced: its variables are used by the programs
# What the programs of this directory share.

CASSANDRA_HOME=${CASSANDRA_HOME:-/opt/cassandra}
CASSANDRA_CONF=${CASSANDRA_CONF:-$CASSANDRA_HOME/conf}
CASSANDRA_LOG_DIR=${CASSANDRA_LOG_DIR:-$CASSANDRA_HOME/logs}
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
# The configuration comes first: its logback.xml is found by this.
CLASS_PATH="$CASSANDRA_CONF:$CASSANDRA_HOME/lib/*"

# read_options FILE...: the options in them, one a line, without comments, in OPTIONS.
read_options() {
	OPTIONS=()
	local file line
	for file in "$@"; do
		while read -r line; do
			if [[ $line == -* ]]; then
				# Some options take their value as the next word.
				read -r -a words <<<"$line"
				OPTIONS+=("${words[@]}")
			fi
		done <"$file"
	done
}
