# SPDX-License-Identifier: Apache-2.0
"""Devices that come and go while a tiny guest drives them."""
import os
import time

import pytest

from lib.api import Api, small_config
from lib.guest import pattern_disk, report_of, sparse, start_guest  # noqa: F401 (fixtures)
from lib.process import descriptors_of, threads_of
from lib.virga import binary

ROUNDS = 200


def names_of(pid):
    return sorted(threads_of(pid).values())


@pytest.fixture(name="disk")
def disks(work):
    """Makes a disk of this name, which is gone at the end."""
    made = []

    def disk(name):
        made.append(pattern_disk(f"{work}/{name}", 1))
        return made[-1]
    yield disk
    for path in made:
        os.unlink(path)


@pytest.fixture(name="run")
def runs(start_guest, work, disk):  # noqa: F811
    """Starts the guest with these words, a first disk and the API; returns both."""
    def run(words, *args, **named):
        vm = start_guest(words, "--disk", f"path={disk('first')},id=first", *args, "--api-socket", f"path={work}/api",
                         "--event-monitor", f"path={work}/events", **named)
        api = Api(f"{work}/api")
        api.vm = vm
        return vm, api
    return run


def events(work):
    with open(f"{work}/events", encoding="utf-8") as f:
        return f.read()


def wait_ready(vm):
    vm.wait_for_in(vm.serial_path, "R3 READY")


def come_and_go(vm, api, route, config, rounds=ROUNDS):
    """Adds and removes, and sees that threads, descriptors and memory are as after the tenth time."""
    took = []
    for i in range(rounds):
        start = time.perf_counter()
        info = api.put(f"vm.{route}", config)
        took.append(time.perf_counter() - start)
        assert info == {"id": config["id"], "bdf": info["bdf"]}, info
        api.put("vm.remove-device", {"id": config["id"], "wait": 20})
        if i == 10:
            before = names_of(vm.pid), len(descriptors_of(vm.pid)), vm.weigh()["rss_kib"]
        if 10 < i < rounds - 1:  # behind the last the guest powers off
            assert names_of(vm.pid) == before[0]
            assert len(descriptors_of(vm.pid)) == before[1]
        if i == rounds - 2:
            own = vm.weigh()["rss_kib"]
    print(f"{route} was answered in {sorted(took)[rounds // 2] * 1000:.2f} ms usually, {max(took) * 1000:.2f} ms at most")
    assert own <= before[2] + 200, f"{before[2]} KiB before, {own} after"


@pytest.mark.parametrize("how, rounds", [("", ROUNDS), ("hold", 40)])
def test_disks_come_and_go_beside_one_that_works(run, work, disk, how, rounds):
    vm, api = run(f"hotplug={rounds} {how}")
    wait_ready(vm)
    hot = disk("hot")
    come_and_go(vm, api, "add-disk", {"id": "hot", "path": hot}, rounds)
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert report.one("SLOTS") == {"came": str(rounds), "went": str(rounds)}
    assert events(work).count('"device-removed"') == events(work).count('"device-added"') == rounds


def test_cards_come_and_go_with_their_taps(run, ns, tmp_path):
    vm, api = run("hotplug=40", program=ns.wrap(binary(), tmp_path))
    wait_ready(vm)
    come_and_go(vm, api, "add-net", {"id": "hot", "tap": "vtplug0"}, 40)
    assert not ns.has("vtplug0")
    assert vm.wait() == 0
    report_of(vm).check()


@pytest.mark.parametrize("route, config", [
    ("add-vsock", {"id": "hot", "cid": 3, "socket": "{work}/vsock"}),
    ("add-pmem", {"id": "hot", "file": "{work}/hot"}),
    ("add-pmem", {"id": "hot", "file": "{work}/hot", "discard_writes": True})])
def test_sockets_and_memory_come_and_go(run, disk, work, route, config):
    sparse(disk("hot"), 4 << 20)
    vm, api = run("hotplug=30")
    wait_ready(vm)
    come_and_go(vm, api, route, {k: v.format(work=work) if isinstance(v, str) else v for k, v in config.items()}, 30)
    assert not os.path.exists(f"{work}/vsock")
    assert vm.wait() == 0
    report_of(vm).check()


def test_sockets_come_and_go_with_their_files(run, work, disk):
    vm, api = run(f"hotplug={ROUNDS}")
    wait_ready(vm)
    come_and_go(vm, api, "add-vsock", {"id": "hot", "cid": 3, "socket": f"{work}/hot"})
    assert not os.path.exists(f"{work}/hot")
    assert vm.wait() == 0
    report_of(vm).check()


def test_a_slot_is_empty_at_once_and_let_go_of_once(run, work, disk):
    vm, api = run("hotplug=2 alone")
    wait_ready(vm)
    hot = disk("hot")
    for last in (False, True):
        api.put("vm.add-disk", {"id": "hot", "path": hot})
        api.put("vm.remove-device", {"id": "hot", "wait": 20})
        # behind the last the guest powers off, maybe before we ask
        assert last or api.ask("PUT", "vm.remove-device", {"id": "hot"}).code == 404
    assert vm.wait() == 0
    report_of(vm).check()


def code(api, path, body):
    answer = api.ask("PUT", path, body)
    return answer.code, answer.error if answer.code >= 400 else ""


def test_a_guest_that_does_not_listen_is_told_of_and_then_left_without(run, work, disk):
    vm, api = run("hotplug=1 deaf")
    wait_ready(vm)
    api.put("vm.add-disk", {"id": "hot", "path": disk("hot")})
    assert code(api, "vm.remove-device", {"id": "hot"}) == (204, "")  # asked, no more
    assert code(api, "vm.remove-device", {"id": "hot", "wait": 1}) == (
        429, "vm.remove-device: the guest has not let go of hot yet, and is asked still")
    vm.wait_for_in(f"{work}/events", '"device-removal-ignored","properties":{"id":"hot"}')
    assert "hot" in api.get("vm.info")["device_tree"]
    assert code(api, "vm.remove-device", {"id": "hot", "wait": 1, "force": True}) == (204, "")
    assert "hot" not in api.get("vm.info")["device_tree"]
    vm.wait_for_in(f"{work}/events", '"device-removed","properties":{"id":"hot"}')
    vm.stop()


def test_what_a_deaf_guest_kept_is_gone_after_its_reset(run, work, disk):
    vm, api = run("hotplug=1 deaf")
    wait_ready(vm)
    api.put("vm.add-disk", {"id": "hot", "path": disk("hot")})
    api.put("vm.add-disk", {"id": "stays", "path": disk("stays")})
    bdf = api.get("vm.info")["device_tree"]["_virtio-pci-stays"]["pci_bdf"]
    api.put("vm.remove-device", {"id": "hot"})
    api.put("vm.reboot")
    tree = api.get("vm.info")["device_tree"]
    assert "hot" not in tree and tree["_virtio-pci-stays"]["pci_bdf"] == bdf
    vm.stop()


def test_devices_come_and_go_while_the_guest_stands_still(run, work, disk):
    vm, api = run("hotplug=1")
    wait_ready(vm)
    api.put("vm.pause")
    info = api.put("vm.add-disk", {"id": "hot", "path": disk("hot")})
    api.put("vm.add-disk", {"id": "forced", "path": disk("forced")})
    assert info["bdf"] == "0000:00:03.0"
    api.put("vm.remove-device", {"id": "forced", "force": True})
    assert code(api, "vm.remove-device", {"id": "hot", "wait": 1})[0] == 429
    api.put("vm.resume")
    assert vm.wait() == 0  # it has let go of one
    report_of(vm).check()


def test_a_disk_is_torn_out_while_it_is_read(run, work, disk):
    vm, api = run("hotplug=100 deaf")
    wait_ready(vm)
    hot = disk("hot")
    for _ in range(20):
        api.put("vm.add-disk", {"id": "hot", "path": hot})
        api.put("vm.remove-device", {"id": "hot", "force": True})
    api.put("vm.remove-device", {"id": "first", "force": True})
    assert vm.wait() == 0  # the guest misses it, and powers off
    assert "the first disk works all the time" in report_of(vm).failed


def test_what_cannot_come_is_refused_and_leaves_nothing(run, work, disk):
    vm, api = run("hotplug=1 deaf", "--platform", "num_pci_segments=2")
    wait_ready(vm)
    hot = disk("hot")
    before = api.get("vm.info"), descriptors_of(vm.pid), names_of(vm.pid)
    for path, body, wanted, words in [
            ("vm.add-disk", {"id": "first", "path": hot}, 409, "the id 'first' is taken"),
            ("vm.add-disk", {"id": "__x", "path": hot}, 400, "names that begin with __ are our own"),
            ("vm.add-disk", {"path": f"{work}/first"}, 409, "in use"),
            ("vm.add-disk", {"path": f"{work}/nothing"}, 404, "there is no disk image"),
            ("vm.add-disk", {"path": hot, "pci_segment": 2}, 400, "PCI segment 2 is out of range"),
            ("vm.add-disk", {"path": hot, "pci_device_id": 0}, 400, "reserved for the host bridge"),
            ("vm.add-disk", {"path": hot, "pci_device_id": 32}, 400, "out of the supported range"),
            ("vm.add-disk", {"path": hot, "pci_device_id": 1}, 409, "Valid PCI device identifier but already used: 1"),
            ("vm.add-disk", {"path": hot, "num_queues": 2}, 400, "more queues than vCPUs"),
            ("vm.add-disk", {"path": hot, "queue_size": 100}, 400, "not a power of two"),
            ("vm.add-disk", {"path": hot, "iommu": True}, 400, "iommu_segments of --platform"),
            ("vm.add-pmem", {"file": ""}, 400, "its file has no name"),
            ("vm.add-pmem", {"file": f"{work}/nothing"}, 404, "there is no such file"),
            ("vm.add-vsock", {"cid": 3, "socket": f"{work}/nowhere/s"}, 404, "listen at"),
            ("vm.add-net", {"tap": "a" * 20}, 400, "at most 15 bytes"),
            ("vm.remove-device", {"id": "nothing"}, 404, "there is no device nothing"),
            ("vm.remove-device", {"id": "__rng"}, 500, "stays as long as the machine"),
            ("vm.remove-device", {"id": "__pcihp", "force": True}, 500, "stays as long as the machine")]:
        got = code(api, path, body)
        assert got[0] == wanted and words in got[1], f"{path} {body}: {got}"
    assert (api.get("vm.info"), descriptors_of(vm.pid), names_of(vm.pid)) == before
    vm.stop()


def test_a_disk_that_is_a_node_stays(run):
    """Without it the machine could not be built again at the next reset."""
    vm, api = run("park", "--memory-zone", "id=m0,size=128M", "--numa", "guest_numa_id=0,cpus=0,memory_zones=m0",
                  "guest_numa_id=1,device_id=first", memory="0")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    for how in ({}, {"force": True}):
        got = code(api, "vm.remove-device", {"id": "first", **how})
        assert got[0] == 500 and "--numa says that it is a node" in got[1], got
    api.put("vm.reboot")
    vm.stop()


def test_a_segment_is_filled_and_the_next_is_taken(run, work, disk):
    vm, api = run("hotplug=1 deaf", "--platform", "num_pci_segments=2")
    wait_ready(vm)
    for i in range(29):  # beside the first disk and the random numbers
        info = api.put("vm.add-disk", {"path": disk(f"d{i}")})
        assert info == {"id": f"_disk{i}", "bdf": f"0000:00:{i + 3:02x}.0"}
    got = code(api, "vm.add-disk", {"path": f"{work}/first", "readonly": True})
    assert got[0] == 500 and "all 31 PCI slots of segment 0 are in use: say pci_segment=" in got[1], got
    assert api.put("vm.add-disk", {"path": disk("more"), "pci_segment": 1})["bdf"] == "0001:00:00.0"
    vm.stop()


def test_a_confined_program_says_why_it_opens_nothing_new(run, work, disk):
    os.mkdir(f"{work}/named")
    vm, api = run("hotplug=1 deaf", "--landlock", "--landlock-rules", f"path={work}/named,access=rw")
    wait_ready(vm)
    got = code(api, "vm.add-disk", {"path": disk("hot")})
    assert got[0] == 500 and "landlock is on" in got[1] and "--landlock-rules" in got[1], got
    path = pattern_disk(f"{work}/named/hot", 1)
    assert api.put("vm.add-disk", {"path": path})["id"]
    vm.stop()
    os.unlink(path)
    os.rmdir(f"{work}/named")


def test_without_a_machine_the_config_alone_changes(virga, work, disk):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config())
        hot = disk("hot")
        assert code(api, "vm.add-disk", {"id": "cold", "path": hot}) == (204, "")
        assert code(api, "vm.add-disk", {"id": "cold", "path": hot})[0] == 409
        assert code(api, "vm.add-disk", {"id": "other", "path": hot}) == (204, "")
        assert code(api, "vm.remove-device", {"id": "other"}) == (204, "")
        assert [d["id"] for d in api.get("vm.info")["config"]["disks"]] == ["cold"]
        api.put("vm.boot")
        assert "cold" in api.get("vm.info")["device_tree"]
        api.put("vm.shutdown")
        assert code(api, "vm.remove-device", {"id": "cold", "wait": 5}) == (204, "")
        assert not api.get("vm.info")["config"].get("disks")
        api.put("vm.boot")
        api.put("vmm.shutdown")
    assert vm.wait() == 0
