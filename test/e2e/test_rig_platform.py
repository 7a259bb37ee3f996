# SPDX-License-Identifier: Apache-2.0
"""The board as stock Linux sees it: PCI segments as domains of lspci and on nodes, the words of SMBIOS in dmidecode."""
import re

from lib.linux import boot, finish

SEGMENTS = 96
# Of each segment the kernel makes a bus; a device on some of them is enough, for each takes a second here.
WITH_DISK = (1, 15, 47, 95)
SCRIPT = """
ls /sys/class/pci_bus | grep -c ':00$'
cat /sys/bus/pci/devices/0000:00:01.0/numa_node /sys/bus/pci/devices/005f:00:00.0/numa_node
grep -o hypervisor /proc/cpuinfo | head -n 1
tool lspci -D -n > /dev/hvc0
dmesg | grep -E 'pci.*(conflict|no space|failed|BIOS bug)' > /dev/hvc0
echo == > /dev/hvc0
tool dmidecode > /dev/hvc0
"""


def test_96_segments_in_lspci_and_every_word_in_dmidecode(virga, images, work):
    disks = [f"path={images.tools},readonly=on,pci_segment={s}" for s in WITH_DISK]
    words = ("system_manufacturer=Makers,system_product_name=Product 9,system_version=v2,system_serial_number=serial-1,"
             "system_uuid=aa11bb22-3344-5566-7788-99aabbccddee,system_sku_number=sku-3,system_family=Folk,"
             "chassis_asset_tag=tag-4,oem_strings=[one,two]")
    said = f"{work}/hvc0"
    vm = boot(virga, images, SCRIPT, "--console", f"file={said}", "--pvpanic", "--platform",
              f"num_pci_segments={SEGMENTS},{words}", "--disk", *disks, "--cpus", "boot=2", "--memory", "size=0",
              "--memory-zone", "id=a,size=256M", "id=b,size=256M", "--numa", "guest_numa_id=0,cpus=0,memory_zones=a",
              f"guest_numa_id=1,cpus=1,memory_zones=b,pci_segments=[1-{SEGMENTS - 1}]", tools=True,
              overhead=False)  # zones are not told from the rest of the process
    assert finish(vm) == [str(SEGMENTS), "0", "1", "hypervisor"]
    pci, text = vm.file_text(said).replace("\r", "").split("==\n", 1)
    # The tools' own disk is on the first segment; its neighbours are console, rng and pvpanic.
    want = ["0000:00:00.0 0600: 8086:0d57", "0000:00:01.0 ffff: 1af4:1043 (rev 01)", "0000:00:02.0 0180: 1af4:1042 (rev 01)",
            "0000:00:03.0 ffff: 1af4:1044 (rev 01)", "0000:00:04.0 0880: 1b36:0011 (rev 01)"]
    want += [f"{s:04x}:00:00.0 0180: 1af4:1042 (rev 01)" for s in WITH_DISK]
    assert pci.splitlines() == want
    assert "SMBIOS 3." in text
    for line in ("Manufacturer: Makers", "Product Name: Product 9", "Version: v2", "Serial Number: serial-1",
                 "UUID: aa11bb22-3344-5566-7788-99aabbccddee", "SKU Number: sku-3", "Family: Folk", "Asset Tag: tag-4"):
        assert line in text, text
    assert re.search(r"String 1: one\s+String 2: two", text)
    assert "Wrong" not in text and "Invalid" not in text and "broken" not in text.lower(), text
