# SPDX-License-Identifier: Apache-2.0
# ./dev demo: unmodified Debian from a disk image to its login. Sourced by dev.
#
# Where this machine's KVM interprets kernels instead of running them, the same VM runs in the nested host.

DEMO_HOST_IP=192.168.249.1
DEMO_GUEST_IP=192.168.249.2
DEMO_MASK=255.255.255.0

# demo_command DISK: the command line of the VM, one word a line.
demo_command() {
	local images=$CACHE/disk
	printf '%s\n' "$OUT/bin/virga" \
		--kernel "$images/disk.vmlinuz" --initramfs "$images/disk.initrd" \
		--cmdline "root=LABEL=rootfs ro console=ttyS0 ip=$DEMO_GUEST_IP::$DEMO_HOST_IP:$DEMO_MASK:::none" \
		--disk "path=$1" --net "ip=$DEMO_HOST_IP,mask=$DEMO_MASK" \
		--cpus boot=1 --memory size=1G --serial tty --console null
}

# kvm_kind: "runs", "interprets" or "none", and why on stderr in the last case.
kvm_kind() {
	local status=0
	mkdir -p "$OUT/bin"
	cc -O2 -D_GNU_SOURCE -o "$OUT/bin/kvmspeed" "$TOP/test/rig/kvmspeed.c"
	as_root "$OUT/bin/kvmspeed" > "$OUT/log/kvmspeed" || status=$?
	case $status in
		0) echo runs ;;
		1) echo interprets ;;
		*) echo none ;;
	esac
}

verb_demo() {
	local check= disk kind command run=()
	case ${1-} in
		--check) check=1 ;;
		'') [[ -t 0 && -t 1 ]] || stop "the demo leaves you at a login and needs a terminal for it; without one: ./dev demo --check" ;;
		*) stop "demo knows no '$1', only --check" ;;
	esac
	CACHE=${VIRGA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/virga}
	mkdir -p "$OUT/log"
	# shellcheck disable=SC2086 # lists of words
	need $BUILD_PACKAGES ${check:+python3 python3-pexpect}
	build_release
	say "timing a guest of three instructions on /dev/kvm"
	kind=$(kvm_kind)
	[[ $kind != none ]] || stop "there is no usable /dev/kvm: it needs a processor with virtualization, and the right to open it"

	say "Debian's kernel and a disk made of Debian's packages (the first time this takes one or two minutes)"
	as_root_images disk
	disk=$CACHE/disk/demo.raw
	if [[ ! -e $disk ]]; then
		as_root cp --sparse=always "$CACHE/disk/disk.raw" "$disk.new"
		as_root mv "$disk.new" "$disk"
	fi
	mapfile -t command < <(demo_command "$disk")
	if [[ $kind == interprets ]]; then
		say "this machine's KVM interprets kernels ($(cat "$OUT/log/kvmspeed") ns an instruction), so the VM runs in a nested host"
		# shellcheck disable=SC2086 # lists of words
		need $RIG_PACKAGES
		as_root_images host
		run=("$TOP/test/rig/run" --disk "$disk" --)
		mapfile -t command < <(demo_command /dev/vda)
	fi
	say "${command[*]@Q}"
	say "the login is root, the password root; to leave, type poweroff there"
	if [[ $check ]]; then
		as_root env VIRGA_CACHE="$CACHE" python3 -B "$TOP/tools/dev/look.py" "$DEMO_GUEST_IP" "$DEMO_HOST_IP" -- "${run[@]}" "${command[@]}"
	else
		as_root env VIRGA_CACHE="$CACHE" "${run[@]}" "${command[@]}"
	fi
	say "the VM ended well; its disk is kept in $disk"
}

# as_root_images PART...: need_images as root, for making a disk needs chroot(2), into this user's cache.
as_root_images() {
	# shellcheck disable=SC2086 # lists of words
	need $IMAGE_PACKAGES
	if ((EUID == 0)); then
		need_images "$@"
	else
		as_root env VIRGA_CACHE="$CACHE" "$TOP/test/rig/mkall" "$@"
	fi
}
