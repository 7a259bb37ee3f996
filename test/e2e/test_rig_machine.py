# SPDX-License-Identifier: Apache-2.0
"""The machine as stock Linux sees it: its tables, its devices, its processors and memory, its life and end."""
import base64
import re
from pathlib import Path

import pytest

from lib.linux import boot, finish, ready

GOLDEN = Path(__file__).parent / "golden"
REBOOTS = 10
# Hardware-reduced ACPI has no interrupt 8, without which Linux takes no CMOS clock that no table tells of. It would set its time
# by that one's whole seconds, and has a better clock.
EXPECTED_FAULTS = r"rtc_cmos: probe with driver rtc_cmos failed with error -22"


def test_lspci_shows_the_machine(virga, images, place, work):
    place.run(f"truncate -s 1M {work}/disk")
    vm = boot(virga, images, "tool lspci -n", "--disk", f"path={work}/disk",
              "--net", "tap=vtest7", "--console", f"file={work}/hvc0", tools=True)
    assert finish(vm) == (GOLDEN / "lspci").read_text().splitlines()


def test_acpi_tables_are_taken_apart_and_put_together(virga, images, here, work, tmp_path):
    script = """
cd /sys/firmware/acpi/tables
for t in *; do [ -f $t ] && echo "TABLE $t" && base64 $t; done > /dev/hvc0
echo TABLE end > /dev/hvc0
"""
    said = f"{work}/hvc0"
    vm = boot(virga, images, script, "--cpus", "boot=2", "--console", f"file={said}")
    finish(vm)
    names = []
    for part in vm.file_text(said).replace("\r", "").split("TABLE ")[1:]:
        name, _, body = part.partition("\n")
        if name != "end":
            names.append(name)
            (tmp_path / f"{name}.dat").write_bytes(base64.b64decode(body))
    assert {"DSDT", "FACP", "APIC", "MCFG"} <= set(names)
    for name in names:
        taken = here.run(f"cd {tmp_path} && iasl -d {name}.dat", check=False)
        assert taken.status == 0 and "Error" not in taken.output, taken.output
        put = here.run(f"cd {tmp_path} && iasl -oa {name}.dsl", check=False)
        assert put.status == 0 and re.search(r"\b0 Errors", put.output), put.output
        if name != "DSDT":
            continue
        assert re.search(r"\b0 Warnings", put.output), put.output


def test_kernel_finds_no_fault_in_the_machine(virga, images):
    script = "dmesg -r | grep -E '^<[0-3]>' ; dmesg | grep -iE 'firmware bug|acpi (bios )?(error|warning)'; true"
    vm = boot(virga, images, script, "--cpus", "boot=2", "--memory", "size=1G", plain=True)
    assert [line for line in finish(vm) if not re.search(EXPECTED_FAULTS, line)] == []


def test_reboots_in_the_same_process(virga, images, place, work):
    """Ten reboots, in turn by the reset register, the keyboard controller and a triple fault."""
    place.run(f"truncate -s 1M {work}/count")
    script = f"""
n=$(head -c 3 /dev/vda | tr -cd 0-9)
n=${{n:-0}}
echo "boot $n"
[ $n -lt {REBOOTS} ] || exit 0
printf '%-3s' $((n + 1)) | dd of=/dev/vda conv=fsync 2> /dev/null
set -- acpi kbd triple
shift $((n % 3))
echo $1 > /sys/kernel/reboot/type
echo 1 > /sys/kernel/reboot/force
reboot -f
sleep 60
"""
    vm = boot(virga, images, script, "--disk", f"path={work}/count", "--net", "tap=vtest8")
    shapes, after = [], 0
    for n in range(REBOOTS + 1):
        after = vm.wait_for(rf"boot {n}\r*\n", 120, after).end()
        shapes.append(vm.weigh())
    assert vm.wait() == 0
    # The last look may come when the process is ending.
    first, *rest = [shape for shape in shapes if shape]
    for shape in rest[:REBOOTS - 1]:
        assert shape["threads"] == first["threads"]
        assert len(shape["fds"]) == len(first["fds"]), (first["fds"], shape["fds"])


def test_no_shutdown_keeps_the_process(virga, images, place):
    vm = boot(virga, images, "true", "--no-shutdown")
    finish(vm, power_off=False)
    vm.look(5)
    place.run("sleep 5")
    vm.look()
    assert vm.status is None
    assert vm.stop() == 0


@pytest.mark.parametrize("cpus", [1, 4, 64])
def test_processors_all_come_up(virga, images, cpus):
    # Processors that wait for their turn to come up spin, and the emulated host does not see that they do: with
    # many, the one whose turn it is would hardly get to run.
    script = "nproc; grep -c ^processor /proc/cpuinfo; taskset -c $(($(nproc) - 1)) true"
    vm = boot(virga, images, script, "--cpus", f"boot={cpus}", "--memory", "size=1G",
              cmdline="cpuhp.parallel=off" if cpus > 4 else "")
    assert finish(vm, 400) == [str(cpus)] * 2


@pytest.mark.parametrize("options, mib", [
    ("size=5G", 5120), ("size=256M,shared=on", 256), ("size=256M,prefault=on", 256),
    ("size=256M,thp=off", 256), ("size=120M,hugepages=on", 120),
])
def test_memory_is_as_asked_for(virga, images, options, mib):
    # Fill a part of /tmp, which is memory, and read it again.
    script = """
awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo
head -c 16777216 /dev/urandom > /tmp/a && cp /tmp/a /tmp/b && cmp /tmp/a /tmp/b && echo same
"""
    vm = boot(virga, images, script, "--memory", options)
    total, same = finish(vm)
    assert same == "same"
    assert mib * 0.85 - 70 < int(total) < mib


def test_clock_is_right(virga, images, place):
    vm = boot(virga, images, "date -u +%s; cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    ready(vm)
    now = int(place.run("date -u +%s").output)
    seconds, source = finish(vm)
    assert abs(int(seconds) - now) < 30
    assert source in ("kvm-clock", "tsc")
