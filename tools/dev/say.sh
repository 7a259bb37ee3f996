# SPDX-License-Identifier: Apache-2.0
# How ./dev speaks: one line a step, its time, and one sentence when something is not to be had. Sourced by dev.

# say SENTENCE: what is being done.
say() { printf '%s %s\n' "$(clock)" "$*"; }

# stop SENTENCE: end; nothing can be done without what the sentence names.
stop() {
	printf 'dev: %s\n' "$*" >&2
	exit 1
}

# clock: minutes and seconds since ./dev began.
clock() { printf '[%2d:%02d]' $((SECONDS / 60)) $((SECONDS % 60)); }

# quietly LOG COMMAND...: run it with its output in a file. Returns its status.
quietly() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	"$@" > "$log" 2>&1 < /dev/null
}

# must LOG SENTENCE COMMAND...: the same; a failure shows the end of the log and stops.
must() {
	local log=$1 sentence=$2
	shift 2
	quietly "$log" "$@" && return
	tail -n 40 "$log" >&2
	stop "$sentence; all of it is in $log"
}
