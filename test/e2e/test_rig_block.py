# SPDX-License-Identifier: Apache-2.0
"""Disks under stock Linux: what is written is what is read, and what must not be written is not."""
import pytest

from lib.linux import boot, finish

MIB = 1 << 20

# Two jobs, each in its own half of the disk, every block with a checksum that is checked when it is read back.
VERIFY = """
echo none > /sys/block/vda/queue/scheduler 2> /dev/null
tool fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
	--bsrange=512-64k --numjobs=2 --size=24m --offset_increment=32m --verify=crc32c --verify_fatal=1 \
	--do_verify=1 --group_reporting --minimal > /dev/hvc0 2>&1
"""


def make_disk(place, path, mib=64):
    place.run(f"truncate -s {mib}M {path}")
    return path


def loop_device(place, path):
    return place.run(f"losetup --find --show {path}").output.strip()


@pytest.mark.parametrize("options", ["num_queues=2", "num_queues=2,direct=on", "queue_size=16"])
def test_fio_reads_back_what_it_wrote(virga, images, place, work, options):
    disk = make_disk(place, f"{work}/disk")
    said = f"{work}/hvc0"
    vm = boot(virga, images, VERIFY, "--cpus", "boot=2", "--disk", f"path={disk},{options}",
              "--console", f"file={said}", "--memory", "size=768M", tools=True)
    try:
        finish(vm, 300)
    except AssertionError:
        raise AssertionError(f"fio said: {vm.file_text(said)[-4000:]}\n{vm.tail()}") from None


def test_fio_verifies_on_a_block_device(virga, images, place, work):
    disk = make_disk(place, f"{work}/disk")
    device = loop_device(place, disk)
    try:
        vm = boot(virga, images, VERIFY, "--cpus", "boot=2", "--console", f"file={work}/hvc0",
                  "--disk", f"path={device},num_queues=2,direct=on", "--memory", "size=768M", tools=True)
        finish(vm, 300)
        vm.close()
    finally:
        place.run(f"losetup --detach {device}")


def test_flushed_data_is_in_the_file(virga, images, place, work):
    disk = make_disk(place, f"{work}/disk", 8)
    script = """
cat /sys/block/vda/serial; echo
cat /sys/block/vda/queue/write_cache
cat /sys/block/vda/size
yes virga | head -c 1048576 | dd of=/dev/vda bs=64k seek=16 conv=fsync 2> /dev/null
"""
    vm = boot(virga, images, script, "--disk", f"path={disk},serial=my-disk-1")
    assert finish(vm) == ["my-disk-1", "write back", str(8 * MIB // 512)]
    data = place.get(disk)
    assert data[MIB:2 * MIB] == (b"virga\n" * 200000)[:MIB]
    assert not any(data[:MIB]) and not any(data[2 * MIB:])


def test_readonly_disk_stays_as_it_is(virga, images, place, work):
    disk = make_disk(place, f"{work}/disk", 8)
    place.run(f"yes untouched | dd of={disk} conv=notrunc count=2 iflag=fullblock status=none")
    before = place.get(disk)
    script = """
cat /sys/block/vda/ro
head -c 10 /dev/vda
if echo touched > /dev/vda; then echo written; else echo refused; fi
"""
    vm = boot(virga, images, script, "--disk", f"path={disk},readonly=on")
    lines = finish(vm)
    assert lines[:2] == ["1", "untouched"] and lines[-1] == "refused"
    assert place.get(disk) == before


def test_many_disks_keep_their_order(virga, images, place, work):
    disks = [make_disk(place, f"{work}/disk{n}", n) for n in (1, 2, 3, 4)]
    vm = boot(virga, images, "cat /sys/block/vd?/size", "--disk", *[f"path={disk}" for disk in disks])
    # Linux names them as it finds them, in the order of their slots.
    assert finish(vm) == [str(n * MIB // 512) for n in (1, 2, 3, 4)]
