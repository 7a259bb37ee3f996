# SPDX-License-Identifier: Apache-2.0
"""Disks under stock Linux: what is written is what is read, and what must not be written is not.

A boot of the nested host's guest is dear, so there is one, with as many disks as Linux has letters.
"""
import itertools

import pytest

from lib.engines import ENGINES
from lib.linux import boot, finish

MIB = 1 << 20
DISK_MIB = 24
COMBINATIONS = list(itertools.product((512, 4096), ENGINES, ("on", "off"), (1, 4)))

# Each queue has a job of its own, in its own part of the disk, every block with a checksum that is checked when it is
# read back; three disks work at a time. Then two get a file system and a file that is removed again, and one of them
# is trimmed.
SCRIPT = """
set -e
for d in /sys/block/vd?; do
	echo none > $d/queue/scheduler
	[ $d = /sys/block/vdy ] || { n=${d##*/}
	echo "[$n]"
	echo "filename=/dev/$n"
	echo "bsrange=$(cat $d/queue/logical_block_size)-32k"
	echo "numjobs=$(ls $d/mq | wc -l)"
	case $n in vd[dgjmpsv]) echo stonewall ;; esac; }
done > /tmp/jobs
tool fio --thread --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --size=512k --offset_increment=2m \
	--verify=crc32c --verify_fatal=1 --do_verify=1 --eta=never --output=/dev/hvc0 /tmp/jobs > /dev/hvc0 2>&1
cat /sys/block/vd?/queue/logical_block_size /sys/block/vda/serial; echo
cat /sys/block/vda/queue/write_cache /sys/block/vda/size /sys/block/vdy/ro
yes virga | head -c 1048576 | dd of=/dev/vdc bs=64k seek=256 conv=fsync 2> /dev/null
for d in a b; do
	mke2fs /dev/vd$d > /dev/null
	mkdir /$d; mount -t ext4 /dev/vd$d /$d
	dd if=/dev/urandom of=/$d/x bs=1M count=16 2> /dev/null
	sync; rm /$d/x; sync
done
fstrim /b
umount /a /b
if (echo touched > /dev/vdy) 2> /dev/null; then echo written; else echo refused; fi
"""


@pytest.fixture
def loops(place, work):
    """Makes block devices of files: loops(bytes of a block, path...) gives a list."""
    made = []

    def make(block, *paths):
        each = f"for f in {' '.join(paths)}; do losetup --find --show --sector-size {block} $f || exit; done"
        new = place.run(each).output.split()
        made.extend(new)
        return new

    yield make
    if made:
        place.run(f"losetup --detach {' '.join(made)}")


@pytest.fixture
def ext4(place, work, loops):
    """A directory on a file system that is no memory: direct I/O goes past the page cache there."""
    size = len(COMBINATIONS) * DISK_MIB + 64
    place.run(f"truncate -s {size}M {work}/ext4")
    device, = loops(512, f"{work}/ext4")
    place.run(f"mkfs.ext4 -q -O ^has_journal {device} && mkdir {work}/mnt && mount {device} {work}/mnt")
    yield f"{work}/mnt"
    place.run(f"umount {work}/mnt")


def kib_of(place, path):
    return int(place.run(f"du -k {path}").output.split()[0])


def test_every_engine_keeps_what_linux_writes(virga, images, place, work, ext4, loops):
    paths = [f"{ext4 if row[0] == 512 else work}/disk{n}" for n, row in enumerate(COMBINATIONS)]
    place.run(f"truncate -s {DISK_MIB}M {' '.join(paths)}")
    opened = [*paths[:12], *loops(4096, *paths[12:])]
    disks = [f"path={path},direct={direct},num_queues={queues},{ENGINES[engine]}"
             for path, (_, engine, direct, queues) in zip(opened, COMBINATIONS)]
    disks[0] += ",serial=my-disk-1,queue_size=16"
    said = f"{work}/hvc0"
    vm = boot(virga, images, SCRIPT, "--cpus", "boot=4", "--memory", "size=768M",
              "--console", f"file={said}", "-v", "--disk", *disks, tools=True)
    try:
        lines = finish(vm, 400)
    except AssertionError as e:
        raise AssertionError(f"{e}\nfio said: {vm.file_text(said)[-4000:]}\n{vm.tail()}") from None
    for engine in ENGINES:
        assert vm.text.count(f" queues by {engine}\r\n") + vm.text.count(f" queues by {engine}\n") >= 8
    # Linux names disks as it finds them, in the order of their slots.
    assert lines[:25] == ["512"] * 12 + ["4096"] * 12 + ["512"]
    assert lines[25:] == ["my-disk-1", "write back", str(DISK_MIB * MIB // 512), "1", "refused"]
    place.run(f"yes virga | head -c {MIB} | cmp --bytes={MIB} --ignore-initial=0:{16 * MIB} - {paths[2]}")
    assert kib_of(place, paths[0]) > 16 * 1024 > 4 * 1024 > kib_of(place, paths[1])
