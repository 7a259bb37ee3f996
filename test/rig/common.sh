# SPDX-License-Identifier: Apache-2.0
# What the image makers share; sourced, never run. Fetching packages, unpacking kernels, collecting modules.

# fail SENTENCE: end with one sentence.
fail() { echo "${0##*/}: $*" >&2; exit 1; }

# need PROGRAM...: end unless all are there.
need() {
	local program
	for program; do
		command -v "$program" > /dev/null || fail "needs the program $program, which is not installed"
	done
}

# real_package META: the package that a kernel's meta package stands for.
real_package() {
	local real
	real=$(apt-cache depends "$1" 2> /dev/null | awk '/ Depends: linux-image-/ { print $2; exit }')
	[[ $real ]] || real=$(apt-cache show "$1" > /dev/null 2>&1 && echo "$1")
	[[ $real ]] || fail "apt knows no package $1; it is in Debian 12's security archive (bookworm-security)"
	echo "$real"
}

# unpack_package NAME DIR: fetch a package as it is in the archive and unpack it in DIR, without installing it.
unpack_package() {
	mkdir -p "$2"
	(cd "$2" && apt-get download -qq -o APT::Sandbox::User=root "$1") || fail "cannot download the package $1"
	dpkg-deb -x "$2"/*.deb "$2"
	rm -f "$2"/*.deb
}

# unpack_kernel BZIMAGE > VMLINUX. The payload is where the setup header points (Documentation/arch/x86/boot.rst),
# less the four bytes of its unpacked size at the end.
unpack_kernel() {
	local start unpack
	field() { od -An -v -t "u$2" -j "$1" -N "$2" "$3" | tr -d ' '; }
	start=$((($(field 0x1f1 1 "$1") + 1) * 512 + $(field 0x248 4 "$1")))
	case $(od -An -t x1 -j $start -N 4 "$1" | tr -d ' ') in
		28b52ffd) unpack="zstd -dcq" ;;
		fd377a58) unpack="xz -dc" ;;
		1f8b*) unpack="gzip -dc" ;;
		02214c18) need lz4; unpack="lz4 -dcq" ;;
		*) fail "$1: unknown kernel compression" ;;
	esac
	dd if="$1" iflag=skip_bytes,count_bytes skip=$start count=$(($(field 0x24c 4 "$1") - 4)) \
		bs=1M status=none | $unpack
}

# collect_modules ROOT RELEASE DIR MODULE...: put modules with all they need into DIR, unpacked and numbered in
# load order. What is built into this kernel, or not in it, is left out.
collect_modules() {
	local root=$1 release=$2 to=$3 n=100 m file name
	shift 3
	mkdir -p "$to"
	depmod -b "$root" "$release"
	for m; do
		modprobe -d "$root" -S "$release" --show-depends "$m" 2> /dev/null |
			awk '$1 == "insmod" { print $2 }' || true
	done | awk '!seen[$0]++' | while read -r file; do
		n=$((n + 1)) name=$(basename "$file")
		case $file in
			*.xz) xz -dc "$file" > "$to/$n-${name%.xz}" ;;
			*.zst) zstd -dcq "$file" > "$to/$n-${name%.zst}" ;;
			*) cp "$file" "$to/$n-$name" ;;
		esac
	done
}

# pack_initramfs ROOT FILE: a reproducible archive of a tree, everything in it root's.
pack_initramfs() {
	(cd "$1" && find . -mindepth 1 -exec touch -h -d @0 {} + &&
		find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet --reproducible) | zstd -q -f -o "$2"
}

# busybox_tree ROOT: the directories of an initramfs and busybox with all its names.
busybox_tree() {
	local busybox applet
	busybox=$(command -v busybox)
	mkdir -p "$1"/{bin,modules,proc,sys,dev,tmp,run,mnt,root}
	"$busybox" --list | while read -r applet; do ln -sf busybox "$1/bin/$applet"; done
	cp --remove-destination "$busybox" "$1/bin/busybox"   # itself a name in that list
}
