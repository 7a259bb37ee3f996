# SPDX-License-Identifier: Apache-2.0
"""Born different and on time: what a restored guest is told of its change, and how its devices go on."""
import json
import os
import shutil
import time

import pytest

from lib.guest import pattern_disk
from lib.lives import MODES, Lives, run_across
from lib.memory import OWN, held, paused
from lib.virga import binary
from lib.wait import until

MIB = 1 << 20


def said(lives, word):
    """The fields of all that the guest has said with that word."""
    lines = (lives.said + lives.text()).split("\n")[:-1]
    return [line.split()[2:] for line in lines if line.startswith(f"R3 {word} ")]


def wait_said(lives, word, count):
    while len(said(lives, word)) < count:
        lives.vm.look(0.01)
        assert lives.vm.status is None, lives.vm.tail()
    return said(lives, word)


def test_each_restore_tells_the_guest_of_another_generation(virga, work):
    lives = Lives(virga, work, "generation=9", cpus="boot=1")
    wait_said(lives, "GENERATION", 1)
    for n, mode in enumerate(MODES):
        lives.save()
        lives.api.put("vm.resume")  # that is no change
        assert lives.next(mode)
        wait_said(lives, "GENERATION", n + 2)
    seen = said(lives, "GENERATION")
    lives.vm.stop()
    assert len(seen) == len({line[0] for line in seen}) == len(MODES) + 1
    assert not said(lives, "FAIL") and said(lives, "PASS")


def test_clones_of_one_moment_have_generations_of_their_own(virga, work):
    lives = Lives(virga, work, "generation=9", cpus="boot=1")
    [first] = wait_said(lives, "GENERATION", 1)
    path, seen = lives.save(), {first[0]}
    lives.kill()
    for mode in MODES + ["map"]:
        lives.said = ""
        lives.restore(path, mode)
        seen.add(wait_said(lives, "GENERATION", 1)[0][0])
        lives.kill()
    assert len(seen) == len(MODES) + 2
    shutil.rmtree(path)


def test_a_reboot_keeps_the_generation(virga, work):
    lives = Lives(virga, work, "generation=1", cpus="boot=1")
    wait_said(lives, "GENERATION", 1)
    lives.api.put("vm.reboot")
    first, again = wait_said(lives, "GENERATION", 2)
    assert first == again
    lives.vm.stop()


PM_HZ = 3579545


def clocks(lives):
    return [dict((key, int(value)) for key, value in (field.split("=") for field in line)) for line in said(lives, "CLOCKS")]


def clocks_across(virga, work, how, gap, seconds):
    """What the clocks showed before and after a restore, and how long it took by the host's."""
    lives = Lives(virga, work, f"clocks={int(seconds * 50)}", cpus="boot=1")
    wait_said(lives, "CLOCKS", 3)
    lives.api.put("vm.pause")
    since = time.monotonic()
    time.sleep(gap)  # what passes before the snapshot counts too
    path = lives.save(paused=True)
    lives.kill()
    before = clocks(lives)[-1]
    count = len(clocks(lives))
    time.sleep(gap)
    lives.restore(path, "map", resume=False, more=how)
    time.sleep(gap)  # and so does what passes before it goes on
    lives.api.put("vm.resume")
    took = time.monotonic() - since
    wait_said(lives, "CLOCKS", count + 3)
    after = clocks(lives)[count + 1]  # the one before may have been read in part when the guest was paused
    lives.end()
    shutil.rmtree(path)
    passed = {
        "tsc": (after["tsc"] - before["tsc"]) / 1e9,
        "kvm": (after["kvm"] - before["kvm"]) / 1e9,
        "pm": ((after["pm"] - before["pm"]) % (1 << 32)) / PM_HZ,
    }
    if before["tsc"] > 600e9:
        del passed["tsc"]  # some hosts' KVM shows a guest their own counter, which counts from the host's start
    return passed, after["rtc"] - before["rtc"], took


@pytest.mark.alone
def test_clocks_have_gone_on_with_the_hosts_time_of_day(virga, work):
    passed, rtc, took = clocks_across(virga, work, "", 0.7, 1)
    assert rtc % 86400 in range(1, 5)
    for clock, seconds in passed.items():
        assert took - 0.1 < seconds < took + 0.4, (clock, passed, took)


@pytest.mark.alone
def test_frozen_clocks_go_on_where_they_stood(virga, work):
    passed, rtc, took = clocks_across(virga, work, ",clock=frozen", 0.7, 1)
    assert rtc % 86400 in range(1, 5)  # the time of day is the host's
    for clock, seconds in passed.items():
        assert 0 <= seconds < 0.5, (clock, passed, took)


RARP = 0x8035


def test_the_network_hears_of_a_card_whose_driver_cannot_announce_it(virga, work, ns):
    ns.make_tap("tap0")
    mac = bytes.fromhex("0200cafe0001")
    lives = Lives(virga, work, "netcable=1", "--net", "tap=tap0,id=n,mac=02:00:ca:fe:00:01", cpus="boot=1",
                  program=ns.wrap(binary(), work))
    lives.until("R3 LINK up")
    hears = ns.packet_socket("tap0", RARP)
    assert lives.next("map")
    frame = until(lambda: received(hears))
    assert frame[:14] == b"\xff" * 6 + mac + RARP.to_bytes(2, "big") and frame[22:28] == mac, frame.hex()
    lives.api.put("vm.change-net", {"id": "n", "link": False})
    lives.end()


def received(sock):
    try:
        return sock.recv(2048)
    except (TimeoutError, OSError):  # no frame yet, or the interface is down while nobody has it open
        return None


# --- devices in use before and after ---

def through_each_look(virga, work, words, *args, modes=MODES, **named):
    """A guest that stands still whenever somebody may look; there it is saved, killed and restored. What it said, and
    how much each snapshot of its memory held."""
    lives = Lives(virga, work, f"{words} look", *args, serial="tty", cpus="boot=1", **named)
    sizes = []
    while True:
        until(lambda: lives.text().count("R3 PAUSED") or lives.vm.status is not None, 30, lives.vm.tail)
        if "R3 PAUSED" not in lives.text():
            return lives.end(), sizes
        path = lives.save()
        sizes.append(os.stat(f"{path}/memory-ranges").st_blocks * 512)
        lives.kill()
        lives.restore(path, modes[len(sizes) % len(modes)])
        lives.api.get("vm.info")  # it has the files by now
        shutil.rmtree(path)
        lives.vm.type("x")


def test_a_balloon_goes_on_full_half_way_and_empty(virga, work):
    report, sizes = through_each_look(virga, work, "balloon", "--balloon", "size=64M,free_page_reporting=on",
                                      memory="size=192M")
    assert len(sizes) == 4 and report.one("BALLOON")["pages"] == str(64 * 256)
    # What the guest gave back is not in the snapshot.
    assert sizes[0] > sizes[1] + 60 * MIB and sizes[2] > sizes[3] + 60 * MIB, sizes


@pytest.mark.parametrize("mode,words,args", [
    ("map", "balloon", ["--balloon", "size=64M,free_page_reporting=on"]),
    ("ondemand", "balloon", ["--balloon", "size=64M,free_page_reporting=on"]),
    ("map", "pvmemcontrol", ["--pvmemcontrol"]),
])
def test_what_a_restored_guest_gives_back_is_the_hosts_and_comes_as_zeros(virga, work, mode, words, args):
    lives = Lives(virga, work, f"{words} look", *args, memory="size=192M", serial="tty", cpus="boot=1")
    lives.until("R3 PAUSED")
    path = lives.save()
    full = os.stat(f"{path}/memory-ranges").st_blocks * 512
    lives.kill()
    lives.restore(path, mode)
    lives.api.get("vm.info")  # it has the files by now
    shutil.rmtree(path)
    # given back, in place of what the file has; written anew; given back
    bytes_held = []
    for count in (1, 2, 3):
        lives.vm.type("x")
        bytes_held.append(paused(lives.vm, count))
        path = lives.save()
        left = os.stat(f"{path}/memory-ranges").st_blocks * 512
        assert (left < full - 60 * MIB) == (count != 2), (count, full, left)
        shutil.rmtree(path)
        lives.api.put("vm.resume")
    assert bytes_held[1] > bytes_held[0] + 60 * MIB and bytes_held[1] > bytes_held[2] + 60 * MIB, bytes_held
    lives.vm.type("x" * 16)
    lives.end()


def test_nobody_writes_to_memory_that_is_shown_before_the_guest_goes_on(virga, work):
    disk = pattern_disk(f"{work}/disk", 4)
    lives = Lives(virga, work, "pause", "--disk", f"path={disk}", "--rng", "src=/dev/urandom", "--balloon", "size=8M", "--watchdog",
                  "--vsock", f"cid=3,socket={work}/vsock", "--pvmemcontrol", "--rtc", serial="tty",
                  memory="size=128M,hotplug_size=128M")
    lives.until("R3 PAUSED")
    path = lives.save()
    lives.kill()
    os.unlink(f"{work}/vsock")
    lives.restore(path, "map", resume=False)
    until(lambda: lives.api.get("vm.info")["state"] == "Paused")
    assert held(lives.vm.pid, OWN) == 0
    lives.api.put("vm.resume")
    until(lambda: held(lives.vm.pid, OWN) > 0)
    lives.vm.type("x")
    lives.end()
    shutil.rmtree(path)
    os.unlink(disk)


def test_memory_in_blocks_goes_on_with_the_blocks_that_were_plugged(virga, work):
    report, sizes = through_each_look(virga, work, "vmem", "--rng", "src=/dev/urandom",
                                      memory="size=64M,hotplug_method=virtio-mem,hotplug_size=256M,hotplugged_size=48M")
    assert len(sizes) == 5 and int(report.one("VMEM")["wanted"], 16) == 48 * MIB


def test_what_is_beside_a_machine_goes_on_in_the_midst_of_its_work(virga, work):
    """Clock, watchdog, shared memory, memory in a file, firmware's items, at moments that chance decides."""
    for name, size in (("pmem", 2 * MIB), ("shared", MIB), ("item", 5000)):
        with open(f"{work}/{name}", "wb") as f:
            f.truncate(size)
    run_across(virga, work, "vrtc watchdog fwcfg ivshmem pmem " * 3, "--rtc", "--watchdog", "--pmem", f"file={work}/pmem",
               "--ivshmem", f"path={work}/shared,size=1M", "--fw-cfg-config", f"items=[name=opt/a,file={work}/item]",
               cpus="boot=1", most=5)
    for name in ("pmem", "shared", "item"):
        os.unlink(f"{work}/{name}")


def test_an_iommu_keeps_what_was_mapped(virga, work):
    disk = pattern_disk(f"{work}/disk", 4)
    run_across(virga, work, "viommu " * 6, "--disk", f"path={disk},iommu=on,readonly=on", cpus="boot=1", least=1, most=4)
    os.unlink(disk)


def test_an_armed_watchdog_is_armed_still_and_fires_once(virga, work):
    lives = Lives(virga, work, "watchdog silent", "--watchdog", cpus="boot=1")
    lives.until("R3 SILENT")
    path = lives.save()
    lives.kill()
    state = json.loads(open(f"{path}/state.json").read())
    [watchdog] = [device["state"] for device in state["devices"] if device["class"] == "watchdog"]
    assert watchdog["armed"] == 1 and 0 < watchdog["check_ms"] <= 15000
    watchdog.update(silent_ms=19900, check_ms=200)  # as if it had been saved later
    with open(f"{path}/state.json", "w") as f:
        json.dump(state, f)
    lives.restore(path, "copy", more=",clock=realtime")
    lives.api.get("vm.info")
    shutil.rmtree(path)
    until(lambda: "R3 SILENT" in lives.text(), 30, lives.vm.tail)  # of the machine that was reset
    time.sleep(0.5)
    assert lives.text().count("R3 START") == 1
    lives.vm.stop()
