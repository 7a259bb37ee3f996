# SPDX-License-Identifier: Apache-2.0
"""A watchdog under stock Linux that falls silent."""
from lib.linux import BOOT_SECONDS, boot, ready

# No Linux has a driver for it. One in shell, on memory that the kernel was told to leave alone: a buffer of a byte is one
# ping, with which it begins to count. The disk remembers it in the next life.
SILENT = """
[ "$(head -c 4 /dev/vda)" = life ] && { echo NEXT LIFE; exit 0; }
echo life > /dev/vda; sync
for d in /sys/bus/pci/devices/*; do [ "$(cat $d/device)" = 0x1063 ] && break; done
echo ${d##*/} > $d/driver/unbind
echo 1 > $d/enable
set -- $(head -n 1 $d/resource)
c=$(($1)); r=$((0x8000000))
put() { devmem $(($1)) $2 $(($3)); }
put c+20 8 0; put c+20 8 3; put c+8 32 1; put c+12 32 1; put c+20 8 11
put c+22 16 0; put c+24 16 8; put c+32 64 r; put c+40 64 r+4096; put c+48 64 r+8192; put c+28 16 1; put c+20 8 15
put r 64 r+12288; put r+8 32 1; put r+12 16 2
put r+4096 32 0x10001; put r+4100 16 0
put c+0x6000 16 0
sleep 1
echo PINGED $(devmem $((r + 12288)) 8) $(devmem $((c + 20)) 8)
sleep 1000
"""


def test_a_silent_guest_is_reset_once_by_its_watchdog(virga, images, place, work):
    place.run(f"truncate -s 1M {work}/life")
    vm = boot(virga, images, SILENT, "--watchdog", "--disk", f"path={work}/life", "--event-monitor", f"path={work}/events",
              "--memory", "size=256M", cmdline="memmap=64K$0x8000000")
    at = vm.wait_for("PINGED 0x01 0x0F", BOOT_SECONDS, after=ready(vm)).end()
    end = vm.wait_for(r"NEXT LIFE", BOOT_SECONDS + 40, after=at).end()
    vm.wait_for("GUEST-STATUS 0", BOOT_SECONDS, after=end)
    assert vm.wait() == 0
    events = vm.file_text(f"{work}/events")
    assert [events.count(f'"event":"{what}"') for what in ("expired", "rebooted")] == [1, 1], events
