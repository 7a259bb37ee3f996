# SPDX-License-Identifier: Apache-2.0
"""Stock Linux gives memory back to its host: blocks of virtio-mem while it works, what it reports as unused, what it names
when it is asked, and what it puts into its balloon, of which it takes some back before it would end a program."""
from lib.linux import BOOT_SECONDS, STRESS, boot, finish, ready
from lib.outside import Outside

MIB = 1 << 20
MEM = "mem() { awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }\n"
# Two files fill all there is; the room that the first one leaves, which the host holds by then, is for what works.
BLOCKS = MEM + r"""
dmesg -c > /dev/null
mount -o remount,size=3G /tmp
echo START
until [ $(mem) -ge 2600 ]; do sleep 0.5; done
dd if=/dev/zero of=/tmp/room bs=1M count=160 2> /dev/null
dd if=/dev/zero of=/tmp/hog bs=1M count=$(awk "/MemFree/ { print int(\$2 / 1024) - 60 }" /proc/meminfo) 2> /dev/null
rm /tmp/room
""" + STRESS + r"""
echo FULL $(mem)
read line
rm /tmp/hog
echo FREED
read line
until [ $(mem) -le 1000 ]; do sleep 0.5; done
echo SHRUNK $(mem)
verified
dmesg | grep -iE 'bug:|oops|call trace|bad page'
exit 0
"""


def test_blocks_go_under_load_and_the_host_has_them_again(virga, images, place, work):
    """No page is reported here: what comes back are the blocks."""
    vm = boot(virga, images, BLOCKS, "--cpus", "boot=2", "--memory", "size=0,hotplug_method=virtio-mem",
              "--memory-zone", "id=m0,size=384M,hotplug_size=2G", "id=m1,size=128M,hotplug_size=256M",
              "--api-socket", f"path={work}/api", cmdline="memhp_default_state=online_movable", tools=True, overhead=False)
    outside = Outside(place, vm, f"{work}/api")
    at = ready(vm)
    vm.wait_for("START", BOOT_SECONDS, after=at)
    outside.put("resize-zone", {"id": "m0", "desired_ram": (384 + 2048) * MIB})
    outside.put("resize-zone", {"id": "m1", "desired_ram": (128 + 256) * MIB})
    vm.wait_for("FULL", 2 * BOOT_SECONDS, after=at)
    assert outside.count("m0", "plugged_bytes") == 2048 * MIB and outside.count("m1", "plugged_bytes") == 256 * MIB
    full = outside.rss_mib()
    assert full > 2048

    vm.type("\n")
    vm.wait_for("FREED", BOOT_SECONDS, after=at)
    assert outside.rss_mib() > full - 64, "what Linux frees is the host's only by the blocks it gives up"
    outside.put("resize-zone", {"id": "m0", "desired_ram": (384 + 256) * MIB})
    outside.put("resize-zone", {"id": "m1", "desired_ram": 128 * MIB})
    outside.until(lambda: outside.count("m0", "plugged_bytes") == 256 * MIB and not outside.count("m1", "plugged_bytes"), 120)
    gone = full - outside.rss_mib()
    print(f"{full} MiB before; {gone} MiB less when 2048 MiB of blocks had gone")
    assert gone >= 0.95 * 2048
    assert outside.info()["memory_actual_size"] == (512 + 256) * MIB
    vm.type("\n")
    lines = finish(vm)
    assert lines[-1] == "VERIFIED", lines


REPORTS = MEM + """
mount -o remount,size=1G /tmp
echo START $(mem)
dd if=/dev/zero of=/tmp/hog bs=1M count=300 2> /dev/null
echo FULL
read line
rm /tmp/hog
echo FREED
read line
dd if=/dev/zero of=/tmp/much bs=1M count=260 2> /dev/null || echo WRONG
echo MUCH $(wc -c < /tmp/much)
dmesg | grep -E "Out of memory: Killed|oom-kill:.*task="
exit 0
"""


def test_linux_reports_what_it_frees_and_its_balloon_saves_its_programs(virga, images, place, work):
    vm = boot(virga, images, REPORTS, "--cpus", "boot=2", "--memory", "size=512M,thp=off", "--balloon",
              "size=0,free_page_reporting=on,deflate_on_oom=on", "--api-socket", f"path={work}/api", overhead=False)
    outside = Outside(place, vm, f"{work}/api")
    at = ready(vm)
    vm.wait_for("FULL", BOOT_SECONDS, after=at)
    full = outside.rss_mib()
    assert full > 300
    vm.type("\n")
    vm.wait_for("FREED", BOOT_SECONDS, after=at)
    outside.until(lambda: full - outside.rss_mib() >= 0.95 * 300)
    assert outside.count("__balloon", "report_bytes") >= 0.95 * 300 * MIB

    outside.put("resize", {"desired_balloon": 256 * MIB})
    outside.until(lambda: outside.count("__balloon", "actual_bytes") == 256 * MIB)
    assert outside.info()["memory_actual_size"] == 256 * MIB
    total, free = (outside.count("__balloon", f"guest_{key}_bytes") for key in ("total", "free"))
    assert 384 * MIB < total < 512 * MIB and 0 < free < 240 * MIB, "what comes next does not fit"
    assert outside.rss_mib() < 256
    vm.type("\n")
    lines = finish(vm, 2 * BOOT_SECONDS)
    assert lines[-1] == f"MUCH {260 * MIB}", lines


HINTS = STRESS + """
dmesg -c > /dev/null
mount -o remount,size=1G /tmp
echo WORKS
read line
for round in 1 2; do
	dd if=/dev/zero of=/tmp/hog bs=1M count=260 2> /dev/null
	echo FULL
	read line
	rm /tmp/hog
	echo 1 > /proc/sys/vm/compact_memory
	echo FREED
	read line
done
verified
dmesg | grep -iE 'bug:|oops|call trace|bad page|out of memory'
exit 0
"""


def test_linux_names_its_free_pages_when_it_is_asked_and_uses_them_again(virga, images, place, work):
    """All memory is the guest's from the start (prefault), so all that it returns the host had lent: its balloon's pages, and
    those that it names, which are pieces of 4 MiB only. Of what it names the second time the host has a part already. Asked
    once more before it has named all, it begins anew; what is in use stays as it was."""
    vm = boot(virga, images, HINTS, "--cpus", "boot=2", "--memory", "size=768M,thp=off,prefault=on", "--balloon",
              "size=0,free_page_hinting=on", "--api-socket", f"path={work}/api", tools=True, overhead=False)
    outside = Outside(place, vm, f"{work}/api")
    at = vm.wait_for("WORKS", BOOT_SECONDS, after=ready(vm)).end()
    full = outside.rss_mib()
    outside.put("resize", {"desired_balloon": 256 * MIB})
    outside.until(lambda: outside.count("__balloon", "actual_bytes") == 256 * MIB)
    gone = full - outside.rss_mib()
    print(f"{full} MiB before; {gone} MiB less when 256 MiB were in the balloon")
    assert full >= 768 and gone >= 0.95 * 256
    vm.type("\n")
    least = None
    for runs in (1, 2):
        at = vm.wait_for("FULL", BOOT_SECONDS, after=at).end()
        full = outside.rss_mib()
        vm.type("\n")
        at = vm.wait_for("FREED", BOOT_SECONDS, after=at).end()
        assert outside.rss_mib() > full - 64, "what Linux frees is the host's only when it was asked"
        outside.put("reclaim")
        if runs == 2:
            outside.put("reclaim")
        outside.until(lambda: outside.count("__balloon", "hint_runs") >= runs)
        named, left = outside.count("__balloon", "hint_bytes") >> 20, outside.rss_mib()
        print(f"{full} MiB before; {full - left} MiB less when Linux had named {named} MiB")
        if runs == 1:
            assert named >= 0.9 * 260 and full - left >= 0.95 * named
            least = left
        assert left <= least + 0.1 * 260
        vm.type("\n")
    lines = finish(vm)
    assert lines[-1] == "VERIFIED", lines
