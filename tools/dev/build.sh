# SPDX-License-Identifier: Apache-2.0
# ./dev build, fuzz, fmt, and what else compiles. Sourced by dev.

# configure DIR OPTION...: a meson build directory under out/, made once and kept.
configure() {
	local dir=$OUT/$1
	shift
	if [[ -e $dir/build.ninja ]]; then
		quietly "$dir.log" meson configure "$dir" "$@" && return
		rm -rf "$dir"
	fi
	must "$dir.log" "meson could not set $dir up" meson setup "$dir" "$TOP" "$@"
}

# compile DIR: build everything in it.
compile() { must "$OUT/$1.log" "the build in out/$1 failed" ninja -C "$OUT/$1"; }

build_release() {
	say "building the release programs"
	configure build-release -Dbuildtype=release -Doptimization=2 -Dstatic=true -Dtests=false -Db_ndebug=false
	compile build-release
	mkdir -p "$OUT/bin"
	local program
	for program in virga virga-remote virga-backend; do
		[[ -x $OUT/build-release/$program ]] || continue
		# Under its name at once: a running program's file cannot be written to.
		strip -o "$OUT/bin/.$program" "$OUT/build-release/$program"
		mv -f "$OUT/bin/.$program" "$OUT/bin/$program"
	done
	[[ -x $OUT/bin/virga ]] || stop "the build made no program 'virga'"
}

verb_build() {
	# shellcheck disable=SC2086 # a list of words
	need $BUILD_PACKAGES
	build_release
	say "left in out/bin: $(cd "$OUT/bin" && stat -c '%n (%s bytes)' virga* | paste -sd ' ')"
}

build_fuzzers() {
	CC=clang configure build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Dbuildtype=debugoptimized
	compile build-fuzz
}

# fuzzers: the programs, one a line.
fuzzers() { find "$OUT/build-fuzz/test" -maxdepth 1 -type f -name 'fuzz-*' -executable | sort; }

# fuzz_one PROGRAM SECONDS: run one; what it found so far is kept in out/fuzz/<name> and starts the next run.
fuzz_one() {
	local name=${1##*/fuzz-}
	mkdir -p "$OUT/fuzz/$name" "$OUT/fuzz/found"
	quietly "$OUT/fuzz/$name.log" "$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="$OUT/fuzz/found/$name-" "$OUT/fuzz/$name"
}

verb_fuzz() {
	local program status=0 only=${1:-} seconds=${2:-60}
	# shellcheck disable=SC2086 # a list of words
	need $FUZZ_PACKAGES
	say "building the fuzzers"
	build_fuzzers
	for program in $(fuzzers); do
		[[ -z $only || $program == */fuzz-$only ]] || continue
		say "fuzzing ${program##*/fuzz-} for $seconds s"
		fuzz_one "$program" "$seconds" && continue
		status=1
		say "${program##*/fuzz-} found something: see out/fuzz/${program##*/fuzz-}.log and out/fuzz/found"
	done
	return $status
}

verb_fmt() {
	need clang-format
	[[ -e $TOP/.clang-format ]] || stop "there is no .clang-format in the tree to lay code out by"
	say "laying out src, include and test"
	find src test -name '*.[ch]' -print0 | xargs -0 clang-format -i
}
