# SPDX-License-Identifier: Apache-2.0
# Packages: what each verb needs, installed when it is missing. Sourced by dev.

# Lists of Debian 12 package names.
BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config liburing-dev libjansson-dev libseccomp-dev"
TEST_PACKAGES="$BUILD_PACKAGES clang libclang-rt-14-dev llvm libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-pexpect
acpica-tools gdb iproute2 iputils-ping strace util-linux passt socat python3-jsonschema python3-hypothesis openapi-specification curl python3-prometheus-client zsh fish libsystemd-dev dbus-daemon systemd python3-dbus swtpm"
FUZZ_PACKAGES="$BUILD_PACKAGES clang libclang-rt-14-dev llvm"
# For the images: makers of initramfs and disk; the nested host; the programs put into the guests.
IMAGE_PACKAGES="busybox-static kmod cpio xz-utils zstd lz4 mmdebstrap debian-archive-keyring fdisk dosfstools mtools e2fsprogs"
RIG_PACKAGES="qemu-system-x86 python3"
TOOLS_PACKAGES="fio iperf3 pciutils dmidecode numactl socat stress-ng tpm2-tools"
BENCH_PACKAGES="$BUILD_PACKAGES python3 qemu-system-x86 passt"

# as_root COMMAND...: run it as root, through sudo where we are not.
as_root() {
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo > /dev/null; then
		sudo "$@"
	else
		stop "'$1' needs root, and there is no sudo here: run ./dev as root"
	fi
}

has_package() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]; }

apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

# need PACKAGE...: install those that are missing.
need() {
	local missing=() package log=$OUT/log/apt
	command -v dpkg-query > /dev/null || stop "this is no Debian: install by hand what is the like of: $*"
	for package; do
		has_package "$package" || missing+=("$package")
	done
	((${#missing[@]})) || return 0
	say "installing ${missing[*]}"
	quietly "$log" apt_get update || say "the package lists could not be renewed; going on with those there are"
	must "$log" "these packages are not to be had: ${missing[*]}" apt_get install --no-install-recommends "${missing[@]}"
}

# need_images PART...: make kernels, disks and the nested host, as test/rig/mkall knows them.
need_images() {
	# shellcheck disable=SC2086 # lists of words
	need $IMAGE_PACKAGES
	# Fresh machines have no package lists, and the kernels come by them.
	if ! apt-cache show linux-image-6.12-cloud-amd64 > /dev/null 2>&1; then
		say "fetching the package lists"
		must "$OUT/log/apt" "the package lists could not be fetched" apt_get update
	fi
	"$TOP/test/rig/mkall" "$@"
}
