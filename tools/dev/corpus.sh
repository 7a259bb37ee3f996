# SPDX-License-Identifier: Apache-2.0
# ./dev corpus: a snapshot of a tiny guest for test/corpus, which every later build must restore (docs/compatibility.md). Sourced by dev.

verb_corpus() {
	# shellcheck disable=SC2086 # a list of words
	need $BUILD_PACKAGES $TEST_PACKAGES
	build_release
	CC=gcc configure test-gcc --buildtype debugoptimized
	must "$OUT/test-gcc.log" "the tiny guest could not be built" ninja -C "$OUT/test-gcc" test/guest/guest.elf
	VIRGA_BUILD=$OUT/test-gcc PYTHONPATH=$TOP/test/e2e exec python3 -B -m lib.corpus "$@"
}
