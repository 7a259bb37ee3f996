# SPDX-License-Identifier: Apache-2.0
# ./dev test: everything that says whether the program is right. Sourced by dev.
#
# The parts, in the order they run. What the rig needs is fetched and made meanwhile, in the background, for that mostly
# waits on the network.
#
#   source   rules about the source text
#   unit     unit tests under gcc, clang, address and undefined-behaviour sanitizers, thread sanitizer
#   fuzz     each fuzzer for 5 s
#   guest    tiny guests on this machine's /dev/kvm, some side by side
#   rig      stock Linux in the nested host
#
# Tests of the first two run beside the builds of what follows, which are most of the work then.
#
# Counts are kept in TALLY, a line "passed failed skipped" for each run; the last line of all is their sum.

PARTS="source unit fuzz guest rig"
FUZZ_SECONDS=5

# count NAME PASSED FAILED SKIPPED
count() {
	echo "$2 $3 $4" >> "$TALLY"
	say "$1: $2 passed, $3 failed, $4 skipped"
}

# count_file NAME FILE: the same from a log; failures and reasons for skipping are shown.
count_file() {
	local told
	if ! told=$(python3 -B "$TOP/tools/dev/tally.py" "$2" 2>> "$OUT/log/tally"); then
		count "$1 (no result was left: see out/log)" 0 1 0
		return
	fi
	# shellcheck disable=SC2046 # three numbers
	count "$1" $(head -n 1 <<< "$told")
	tail -n +2 <<< "$told" | sed 's/^/         /'
}

# meson_tests NAME SUITE DIR [PREFIX...]: build one build directory, and run one suite in it beside what comes next: a
# test mostly waits, and a compiler never does. `settle` waits for its end.
meson_tests() {
	local name=$1 suite=$2 dir=$3 log=$OUT/log/$3-$2
	if ! quietly "$log" ninja -C "$OUT/$dir"; then
		grep -E 'error|FAILED' "$log" | head -n 20 || true
		count "$name (does not compile: see $log)" 0 1 0
		return
	fi
	meson_run "$@" &
	BESIDE+=($!)
}

# meson_run: what meson_tests leaves running. Each suite has logs of its own.
meson_run() {
	local name=$1 suite=$2 dir=$3 log=$OUT/log/$3-$2
	shift 3
	rm -f "$OUT/$dir/meson-logs/$suite.json"
	quietly "$log" "$@" meson test -C "$OUT/$dir" --no-rebuild --suite "$suite" --logbase "$suite" ||
		grep -E '^not ok|ERROR|WARNING: ThreadSanitizer|SUMMARY' "$OUT/$dir/meson-logs/$suite.txt" | head -n 20 || true
	if grep -q 'No suitable tests defined' "$log"; then
		count "$name" 0 0 0
	else
		count_file "$name" "$OUT/$dir/meson-logs/$suite.json"
	fi
}

# settle: wait for what runs beside.
settle() {
	((${#BESIDE[@]} == 0)) || wait "${BESIDE[@]}" || true
	BESIDE=()
}

part_source() {
	CC=gcc configure test-gcc --buildtype debugoptimized
	meson_tests "source checks" source test-gcc
}

part_unit() {
	CC=gcc configure test-gcc --buildtype debugoptimized
	meson_tests "unit tests, gcc" unit test-gcc
	CC=clang configure test-clang --buildtype debugoptimized
	meson_tests "unit tests, clang" unit test-clang
	CC=clang configure test-asan --buildtype debugoptimized -Db_sanitize=address,undefined
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		meson_tests "unit tests, ASan and UBSan" unit test-asan
	CC=clang configure test-tsan --buildtype debugoptimized -Db_sanitize=thread
	# The thread sanitizer of this age needs the old layout of the address space.
	local fixed=()
	! setarch -R true 2> /dev/null || fixed=(setarch -R)
	meson_tests "unit tests, TSan" unit test-tsan "${fixed[@]}"
}

part_fuzz() {
	local program running=0 all
	build_fuzzers
	settle
	all=$(fuzzers)
	say "fuzzing $(wc -w <<< "$all") readers of foreign bytes, $FUZZ_SECONDS s each"
	mkdir -p "$OUT/fuzz"
	rm -f "$OUT"/fuzz/*.status
	for program in $all; do
		if ((running == $(nproc))); then
			wait -n || true
			running=$((running - 1))
		fi
		{
			fuzz_one "$program" "$FUZZ_SECONDS" && echo 0 || echo 1
		} > "$OUT/fuzz/${program##*/fuzz-}.status" &
		FUZZ_JOBS+=($!)
		running=$((running + 1))
	done
	((${#FUZZ_JOBS[@]} == 0)) || wait "${FUZZ_JOBS[@]}" || true
	for program in $all; do
		local name=${program##*/fuzz-}
		if [[ $(cat "$OUT/fuzz/$name.status") == 0 ]]; then
			count "fuzz $name" 1 0 0
		else
			count "fuzz $name (see out/fuzz/$name.log)" 0 1 0
		fi
	done
}

# pytests NAME ARGS...: run pytest; its words go to the screen as they come.
pytests() {
	local name=$1 xml=$OUT/log/$1.xml
	shift
	mkdir -p "$OUT/log"
	rm -f "$xml"
	python3 -B -m pytest -p no:cacheprovider --junitxml="$xml" "$@" "${PYTEST_ARGS[@]}" < /dev/null || true
	count_file "$name" "$xml"
}

part_guest() {
	settle
	say "tiny guests on this machine's /dev/kvm"
	local files=() alone=()
	CC=gcc configure test-gcc --buildtype debugoptimized
	compile test-gcc
	mapfile -t files < <(find test/e2e -name 'test_*.py' ! -name 'test_rig_*' | sort)
	mapfile -t alone < <(grep -l 'mark\.alone' "${files[@]}")
	export VIRGA_BUILD=$OUT/test-gcc
	# One more at a time than there are processors, for most of them wait most of the time.
	pytests guest -n $(($(nproc) + 1)) --dist loadgroup -m "not alone" "${files[@]}"
	pytests guest-alone -m alone "${alone[@]}"
}

# rig_needs: the packages and the images of the nested host.
rig_needs() {
	# shellcheck disable=SC2086 # lists of words
	need $IMAGE_PACKAGES $RIG_PACKAGES $TOOLS_PACKAGES
	need_images
}

part_rig() {
	if [[ -n $IMAGES_JOB ]]; then
		say "waiting for the images"
		wait "$IMAGES_JOB" || { tail -n 20 "$OUT/log/images" >&2; count "images of the rig (see out/log/images)" 0 1 0; }
	fi
	local hosts
	hosts=$(nested_hosts)
	say "stock Linux in the nested host, $hosts of them side by side"
	rm -f "$OUT/log/repeats"
	VIRGA_TEST_REPEATS=$OUT/log/repeats pytests rig -n "$hosts" --dist loadgroup test/e2e/test_rig_*.py
	[[ ! -e $OUT/log/repeats ]] || grep '^tried' "$OUT/log/repeats"
}

# nested_hosts: how many this machine can carry: one a processor at most, and at most four, each of 5 GiB.
nested_hosts() {
	awk -v cpus="$(nproc)" '/^MemAvailable/ {
		n = int($2 / (5 * 1024 * 1024))
		if (n > cpus) n = cpus
		print (n < 1 ? 1 : (n > 4 ? 4 : n))
	}' /proc/meminfo
}

verb_test() {
	local parts=() part
	PYTEST_ARGS=() FUZZ_JOBS=() BESIDE=() IMAGES_JOB= TALLY=$OUT/log/tally.counts
	while (($#)); do
		case $1 in
			--) shift; PYTEST_ARGS=("$@"); break ;;
			*) [[ " $PARTS " == *" $1 "* ]] || stop "there is no part '$1'; the parts are: $PARTS"; parts+=("$1") ;;
		esac
		shift
	done
	# shellcheck disable=SC2206 # a list of words
	((${#parts[@]})) || parts=($PARTS)
	mkdir -p "$OUT/log"
	: > "$TALLY"
	# shellcheck disable=SC2086 # lists of words
	need $TEST_PACKAGES
	if [[ " ${parts[*]} " == *" rig "* ]]; then
		rig_needs > "$OUT/log/images" 2>&1 < /dev/null &
		IMAGES_JOB=$!
	fi
	build_release
	for part in "${parts[@]}"; do
		"part_$part"
	done
	settle
	awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' "$TALLY"
}
