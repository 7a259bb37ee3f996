# SPDX-License-Identifier: Apache-2.0
# ./dev deb: the release programs as a Debian package. What is in it is said in tools/mkdeb. Sourced by dev.

verb_deb() {
	local package
	# shellcheck disable=SC2086 # a list of words
	need $BUILD_PACKAGES
	build_release
	say "packing"
	package=$("$TOP/tools/mkdeb" "$OUT/bin" "$OUT/deb")
	say "left: $package ($(stat -c %s "$package") bytes)"
}
