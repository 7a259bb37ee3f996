# SPDX-License-Identifier: Apache-2.0
# ./dev bench: release build beside the peers of this machine. The measuring is in test/bench. Sourced by dev.

verb_bench() {
	# shellcheck disable=SC2086 # a list of words
	need $BENCH_PACKAGES
	build_release
	[[ -e $TOP/test/bench/bench.py ]] || stop "there is no test/bench/bench.py in this tree"
	exec python3 -B "$TOP/test/bench/bench.py" "$@"
}
