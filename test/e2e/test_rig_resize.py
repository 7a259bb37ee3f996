# SPDX-License-Identifier: Apache-2.0
"""Stock Linux whose vCPUs come and go, and whose memory grows, by its own drivers for ACPI."""
import re
import time

from lib.linux import STRESS, boot, finish, ready
from lib.virga import remote_binary

# Brings into use what has come, as a distribution's rules for udev do, and tells of each change.
CPUS = """
was=
while [ ! -e /tmp/end ]; do
	for c in /sys/devices/system/cpu/cpu[1-9]*/online; do
		[ "$(cat $c 2> /dev/null)" = 0 ] && echo 1 > $c
	done 2> /dev/null
	now=$(grep -c ^processor /proc/cpuinfo)
	[ "$now" = "$was" ] || echo "CPUS $now work $(for i in $(seq $now); do (i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo x) & done; wait | wc -l)"
	was=$now
	sleep 0.1
done
"""

MEMORY = STRESS + """
dmesg -c > /dev/null
echo online > /sys/devices/system/memory/auto_online_blocks
was=
for n in $(seq 3000); do
	now=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
	[ "$now" = "$was" ] || echo "MEMORY $now"
	was=$now
	[ "$now" -gt 1900 ] && break
	sleep 0.1
done
mount -o remount,size=1400M /tmp
dd if=/dev/zero of=/tmp/a bs=1M count=1200 2> /dev/null && echo used $(wc -c < /tmp/a)
dmesg | grep -iE 'bug|oops|call trace|bad page'
cat /proc/iomem | grep -c 'System RAM'
verified
"""


def remote(place, work, *words):
    return place.run(f"{remote_binary()} --api-socket {work}/api {' '.join(words)}", check=False)


def resize(place, work, *words):
    """Asks until the guest has let go of what it was asked for before."""
    end = time.monotonic() + 120
    while True:
        done = remote(place, work, "resize", *words)
        if not done.status:
            return
        assert "not yet let go" in done.output and time.monotonic() < end, done
        time.sleep(0.2)


def has(vm, count, after):
    return vm.wait_for(rf"CPUS {count} ", 120, after=after).end()


def test_vcpus_come_and_go_and_a_reboot_comes_between(virga, images, place, work):
    vm = boot(virga, images, CPUS, "--cpus", "boot=1,max=8", "--memory", "size=512M", "--api-socket", f"path={work}/api",
              overhead=False)
    at = has(vm, 1, ready(vm))
    for count in (2, 8, 3, 8):
        resize(place, work, "--cpus", str(count))
        at = has(vm, count, at)
    resize(place, work, "--cpus", "3")
    remote(place, work, "reboot")
    at = has(vm, 3, vm.wait_for(r"GUEST-READY [\d.]+", 240, after=at).end())
    resize(place, work, "--cpus", "8")
    at = has(vm, 8, at)
    assert not re.search(r"BUG|Oops|Call Trace", vm.text)
    assert not remote(place, work, "nmi").status
    assert not remote(place, work, "shutdown-vmm").status
    assert vm.wait() == 0


def test_memory_comes_under_load_and_is_used(virga, images, place, work):
    vm = boot(virga, images, MEMORY, "--cpus", "boot=2", "--memory", "size=512M,hotplug_size=2G", "--api-socket",
              f"path={work}/api", tools=True, overhead=False)
    at = vm.wait_for(r"MEMORY \d+", 120, after=ready(vm)).end()
    resize(place, work, "--memory", "1G")
    at = vm.wait_for(r"MEMORY 9\d\d", 120, after=at).end()
    resize(place, work, "--memory", "2G")
    lines = finish(vm, 240)
    assert f"used {1200 << 20}" in lines and lines[-1] == "VERIFIED", lines
    assert not [line for line in lines if re.search("bug|trace", line, re.I)], lines
