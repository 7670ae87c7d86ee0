# shellcheck shell=bash
# Servers in the background, known by pid files. A pid file holds the pid and the
# tick at which that process started, so that a recycled pid is never mistaken for it.

PIDS=$RUN/pids

# start_tick PID: the tick at which the process started; fails for one that has ended.
start_tick() {
	local stat fields
	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
	# The name, in brackets, may hold spaces; what follows it does not.
	read -r -a fields <<<"${stat##*) }"
	[[ ${fields[0]} != Z ]] || return 1
	echo "${fields[19]}"
}

# pid_of NAME: the pid of the server if it runs.
pid_of() {
	local pid tick
	{ read -r pid tick <"$PIDS/$1"; } 2>/dev/null || return 1
	[[ $(start_tick "$pid") == "$tick" ]] || return 1
	echo "$pid"
}

# start NAME COMMAND...: starts the server unless it runs already.
start() {
	local name=$1 log=$LOG/$1.log pid
	shift
	if pid_of "$name" >/dev/null; then
		return
	fi
	mkdir -p "$PIDS"
	if [[ -f $log ]]; then
		mv "$log" "$log.old"
	fi
	setsid "$@" >"$log" 2>&1 </dev/null &
	pid=$!
	if ! echo "$pid $(start_tick "$pid")" >"$PIDS/$name"; then
		fail "$name ended at once; see $log"
	fi
}

# stop NAME: ends the server, by force after 3 s: the state it would save is not kept.
stop() {
	local pid limit=$((SECONDS + 3)) signal=TERM
	while pid=$(pid_of "$1"); do
		if ((SECONDS >= limit)); then
			signal=KILL
		fi
		kill -s "$signal" "$pid" 2>/dev/null || true
		sleep 0.1
	done
	rm -f "$PIDS/$1"
}
