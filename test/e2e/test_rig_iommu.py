# SPDX-License-Identifier: Apache-2.0
"""Stock Linux behind a virtual IOMMU, with a TPM and items of fw_cfg, of which one is its script; what it is given while it
runs; and a press of its power button."""
import hashlib

from lib.linux import BOOT_SECONDS, TOOLS, boot, finish, ready
from lib.outside import Outside

ITEM = "opt/virga/script"
FROM_ITEM = f". /sys/firmware/qemu_fw_cfg/by_name/{ITEM}/raw"
VALUE = "01" * 32
# The disk of tools is behind the IOMMU too: what is not comes before what must wait for it.
SCRIPT = TOOLS + f"""
for g in /sys/kernel/iommu_groups/*/devices/*; do echo GROUP ${{g##*/}}; done
echo TYPE $(sort -u /sys/kernel/iommu_groups/*/type)
dd if=/dev/urandom of=/tmp/a bs=1M count=1 2> /dev/null
dd if=/tmp/a of=/dev/vda bs=64k oflag=direct 2> /dev/null
dd if=/dev/vda bs=64k count=16 iflag=direct 2> /dev/null | cmp - /tmp/a && echo DISK same
ip addr add 192.168.74.2/24 dev eth0 && ip link set eth0 up
ping -c 3 -i 0.3 -w 20 -s 1400 192.168.74.1 > /dev/null && echo NET answers
dmesg | grep -iE '[^e]fault' || echo NO FAULT
echo "ITEM $(cat /sys/firmware/qemu_fw_cfg/by_name/opt/virga/words/raw)"

echo TPM $(cat /sys/class/tpm/tpm0/tpm_version_major)
export TPM2TOOLS_TCTI=device:/dev/tpmrm0
tpm() {{ tool tpm2 "$@"; }}
tpm pcrextend 16:sha256={VALUE}
echo EXTENDED $(tpm pcrread sha256:16 | grep -o '0x.*')
tpm pcrreset 16
echo RESET $(tpm pcrread sha256:16 | grep -o '0x.*')
echo RANDOM $(tpm getrandom --hex 16)
echo words that are sealed > /tmp/words
tpm createprimary -Q -C o -G ecc -c /tmp/top && tpm create -Q -C /tmp/top -i /tmp/words -u /tmp/pub -r /tmp/priv &&
	tpm load -Q -C /tmp/top -u /tmp/pub -r /tmp/priv -c /tmp/sealed && echo UNSEALED $(tpm unseal -c /tmp/sealed)

echo ADDS
until [ -b /dev/pmem0 ]; do sleep 0.2; done
mke2fs -b 4096 /dev/pmem0 > /dev/null 2>&1
mkdir /tmp/p
mount -t ext4 -o dax /dev/pmem0 /tmp/p && grep -c '/tmp/p ext4.*dax' /proc/mounts
echo words behind DAX > /tmp/p/words
umount /tmp/p
until echo words over vsock | tool socat -u - VSOCK-CONNECT:2:1024 2> /dev/null; do sleep 0.2; done
echo ADDED
until [ ! -b /dev/pmem0 ]; do sleep 0.2; done
echo REMOVED
until tool socat -u - VSOCK-CONNECT:2:1024 < /dev/null 2>&1 | grep -q 'No such device'; do sleep 0.2; done
echo GONE
head -c 1 /dev/input/event0 > /dev/null
echo PRESSED
dmesg | grep -iE 'bug:|oops'
exit 0
"""


def test_linux_works_behind_an_iommu_and_with_what_it_is_given(virga, images, place, work):
    place.put(f"{work}/script", SCRIPT)
    place.run(f"truncate -s 16M {work}/disk {work}/pmem && mkdir {work}/tpm")
    place.run(f"swtpm socket --daemon --tpm2 --tpmstate dir={work}/tpm --ctrl type=unixio,path={work}/tpm.sock "
              f"--pid file={work}/tpm.pid")
    listener = place.spawn(["socat", "-u", f"UNIX-LISTEN:{work}/vsock_1024,fork", f"OPEN:{work}/heard,creat,append"])
    try:
        vm = boot(virga, images, FROM_ITEM, "--disk", f"path={work}/disk,iommu=on", f"path={images.tools},readonly=on,iommu=on", "--net",
                  "tap=vtest8,ip=192.168.74.1,mask=255.255.255.0,iommu=on", "--rng", "src=/dev/urandom,iommu=on",
                  "--tpm", f"socket={work}/tpm.sock", "--fw-cfg-config",
                  f"items=[name={ITEM},file={work}/script:name=opt/virga/words,string=two words]",
                  "--api-socket", f"path={work}/api", overhead=False)
        outside = Outside(place, vm, f"{work}/api")
        at = ready(vm)
        vm.wait_for("ADDS", BOOT_SECONDS, after=at)
        for what, config in (("pmem", {"file": f"{work}/pmem"}), ("vsock", {"cid": 3, "socket": f"{work}/vsock"})):
            assert outside.put(f"add-{what}", {"id": f"hot-{what}", **config})["id"] == f"hot-{what}"
        vm.wait_for("ADDED", BOOT_SECONDS, after=at)
        outside.put("remove-device", {"id": "hot-pmem", "wait": 60})
        vm.wait_for("REMOVED", BOOT_SECONDS, after=at)
        outside.put("remove-device", {"id": "hot-vsock", "wait": 60})
        vm.wait_for("GONE", BOOT_SECONDS, after=at)
        outside.put("power-button")
        said = finish(vm)
        heard = place.run(f"cat {work}/heard; grep -ac 'words behind DAX' {work}/pmem").output.split("\n")
    finally:
        place.run(f"kill {listener['pid']} $(cat {work}/tpm.pid); rm -rf {work}/tpm* {work}/vsock_1024 {work}/heard", check=False)
        place.close(listener["job"])
    groups = [line.split()[1] for line in said if line.startswith("GROUP ")]
    assert groups == [f"0000:00:0{n}.0" for n in (1, 2, 3, 4)], said
    assert any(line.startswith("TYPE DMA") for line in said), said
    extended = hashlib.sha256(bytes(32) + bytes.fromhex(VALUE)).hexdigest().upper()
    assert {"DISK same", "NET answers", "NO FAULT", "TPM 2", f"EXTENDED 0x{extended}", f"RESET 0x{'0' * 64}",
            "UNSEALED words that are sealed", "1", "ITEM two words"} <= set(said), said
    assert any(line.startswith("RANDOM ") and len(line) == 7 + 32 for line in said), said
    assert said[-1] == "PRESSED", said
    assert heard[:2] == ["words over vsock", "1"], heard
