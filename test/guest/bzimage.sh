#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Wrap the tiny guest into a bzImage: bzimage.sh OBJCOPY NM setup.S guest.elf OUTPUT CC...
set -eu
objcopy=$1 nm=$2 setup=$3 elf=$4 out=$5
shift 5
address() {
	"$nm" "$elf" | awk -v name="$1" '$3 == name { print "0x" $1 }'
}
"$objcopy" -O binary -R .stack "$elf" "$out.payload"
"$@" -c -DSETUP_SECTS=1 -DPAYLOAD="\"$out.payload\"" \
	-DINIT_SIZE=$(($(address stack_end) - $(address image_start))) -o "$out.o" "$setup"
"$objcopy" -O binary -j .setup "$out.o" "$out"
rm "$out.payload" "$out.o"
