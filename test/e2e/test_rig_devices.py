# SPDX-License-Identifier: Apache-2.0
"""Devices that few guests have, under stock Linux: persistent memory with DAX, and shared memory."""
from lib.linux import boot, finish

# ext4 on the memory, mounted so that files are its pages; the disk is read into a mapped file there, by DMA.
PMEM = """
set -e
cat /sys/block/pmem0/size
mke2fs -b 4096 /dev/pmem0 > /dev/null 2>&1
mkdir /mnt/tmp/p
mount -t ext4 -o dax /dev/pmem0 /mnt/tmp/p
grep -q '/mnt/tmp/p ext4.*dax' /proc/mounts && echo dax
echo "words that were flushed" > /mnt/tmp/p/words
head -c 1048576 /dev/zero > /mnt/tmp/p/buffer
tool fio --name=dma --filename=/dev/vda --rw=read --bs=64k --size=4m --direct=1 --mem=mmap:/tmp/p/buffer \\
	--thread --verify=0 --output=/tmp/fio > /dev/null 2>&1 && echo dma
sync
umount /mnt/tmp/p
tool lspci -n | grep -E '1af4:(1110|105b|1063)'
"""


def test_pmem_with_dax_and_lspci(virga, images, place, work):
    place.run(f"truncate -s 64M {work}/pmem && truncate -s 1M {work}/shared && yes virga | head -c 8M > {work}/disk")
    vm = boot(virga, images, PMEM, "--memory", "size=512M", "--pmem", f"file={work}/pmem", "--disk", f"path={work}/disk",
              "--ivshmem", f"path={work}/shared,size=1M", "--watchdog", tools=True)
    lines = finish(vm)
    assert lines[:3] == ["131072", "dax", "dma"], lines
    assert [line.split()[1:3] for line in lines if "1af4:" in line] == [
        ["ffff:", "1af4:105b"], ["ffff:", "1af4:1063"], ["0580:", "1af4:1110"]]
    assert place.run(f"grep -c 'words that were flushed' {work}/pmem").output.strip() == "1"


# Each writes its own word of BAR 2 and waits for the other's.
SHARED = """
for d in /sys/bus/pci/devices/*; do
	[ "$(cat $d/vendor)$(cat $d/device)" = 0x1af40x1110 ] || continue
	echo 1 > $d/enable
	set -- $(sed -n 3p $d/resource)
	at=$(($1))
done
devmem $((at + 8 * MINE)) 32 $((1000 + MINE))
for i in $(seq 600); do
	[ $(($(devmem $((at + 8 * OTHER)) 32))) = $((1000 + OTHER)) ] && { echo met; exit 0; }
	usleep 100000
done
exit 1
"""


def test_two_machines_share_a_bar(virga, images, place, work):
    place.run(f"truncate -s 1M {work}/shared")
    vms = [boot(virga, images, SHARED.replace("MINE", str(n)).replace("OTHER", str(1 - n)),
                "--ivshmem", f"path={work}/shared,size=1M") for n in range(2)]
    for vm in vms:
        assert finish(vm)[-1] == "met"
    assert place.run(f"od -A n -t d4 -N 12 {work}/shared").output.split() == ["1000", "0", "1001"]
