# SPDX-License-Identifier: Apache-2.0
"""vCPUs that come and go while a guest runs: started by INIT and SIPI, at work, let go of, and started again."""
import json
import os
import shutil
import time

from lib.api import Api, served, small_config  # noqa: F401 (fixture)
from lib.gdbremote import GdbRemote
from lib.guest import sparse
from lib.process import threads_of
from lib.wait import until

MIB = 1 << 20


def vcpus(pid):
    return sorted(name for name in threads_of(pid).values() if name.startswith("vcpu"))


def boot(served, work, words, boot_vcpus, max_vcpus, **more):
    vm, api = served
    api.put("vm.create", small_config(words, cpus={"boot_vcpus": boot_vcpus, "max_vcpus": max_vcpus},
                                      serial={"mode": "File", "file": f"{work}/said"}, **more))
    api.put("vm.boot")
    return vm, api


def resize(api, **what):
    return api.ask("PUT", "vm.resize", what)


def test_vcpus_come_run_go_and_come_again(served, work):
    vm, api = boot(served, work, "cpuhp=9 of=4", 1, 4)
    said = f"{work}/said"
    vm.wait_for_in(said, "R3 WAITS")
    until(lambda: vcpus(vm.pid) == ["vcpu0"])
    start = time.monotonic()
    assert resize(api, desired_vcpus=4).code == 204
    assert time.monotonic() - start < 1
    for cpu in (1, 2, 3):
        vm.wait_for_in(said, f"R3 CAME cpu={cpu}")
    assert vcpus(vm.pid) == ["vcpu0", "vcpu1", "vcpu2", "vcpu3"]
    assert api.get("vm.info")["config"]["cpus"]["boot_vcpus"] == 4
    assert resize(api, desired_vcpus=2).code == 204
    vm.wait_for_in(said, "R3 WENT cpu=3")
    until(lambda: vcpus(vm.pid) == ["vcpu0", "vcpu1"])
    assert api.ask("PUT", "vm.coredump", {"destination_url": f"file://{work}/core"}).code == 204
    api.put("vm.pause")
    api.put("vm.resume")
    assert resize(api, desired_vcpus=4).code == 204
    until(lambda: open(said, encoding="ascii").read().count("R3 CAME cpu=3") == 2)
    counted = api.get("vm.counters")["__cpuhp"]
    assert counted["refusals"] >= 4  # what the guest tried at its start
    assert counted == {"arrivals": 5, "requests": 2, "ejects": 2, "refusals": counted["refusals"]}
    assert resize(api, desired_vcpus=2).code == 204
    vm.wait_for_in(said, "R3 EXIT 0")
    assert "R3 FAIL" not in open(said, encoding="ascii").read()


def test_a_guest_that_does_not_let_go_is_waited_for_and_a_reboot_settles_it(served, work):
    vm, api = boot(served, work, "park", 3, 4)
    vm.wait_for_in(f"{work}/said", "R3 PARKED")
    assert resize(api, desired_vcpus=1).code == 204
    for want in (1, 2, 4):
        answer = resize(api, desired_vcpus=want)
        assert answer.code == 429 and "not yet let go" in str(answer.json), answer
    assert vcpus(vm.pid) == ["vcpu0", "vcpu1", "vcpu2"]
    api.put("vm.reboot")
    until(lambda: vcpus(vm.pid) == ["vcpu0"])
    assert resize(api, desired_vcpus=4).code == 204
    until(lambda: len(vcpus(vm.pid)) == 4)
    api.put("vm.reboot")
    until(lambda: len(vcpus(vm.pid)) == 4)
    assert api.get("vm.info")["config"]["cpus"] | {"boot_vcpus": 4, "max_vcpus": 4} == api.get("vm.info")["config"]["cpus"]


def test_amounts_that_can_not_be_are_refused_and_change_nothing(served, work):
    vm, api = boot(served, work, "park", 1, 2)
    for body, code, word in (({"desired_vcpus": 0}, 400, "desired_vcpus"), ({"desired_vcpus": 3}, 400, "1 to 2"),
                             ({"desired_vcpus": 8193}, 400, "desired_vcpus"), ({"desired_vcpus": -1}, 400, ""),
                             ({"desired_cpus": 1}, 400, "desired_cpus")):
        answer = api.ask("PUT", "vm.resize", body)
        assert answer.code == code and word in str(answer.json), answer
    api.put("vm.pause")
    answer = resize(api, desired_vcpus=2)
    assert answer.code == 405 and "Paused" in str(answer.json), answer
    api.put("vm.resume")
    assert vcpus(vm.pid) == ["vcpu0"]
    assert resize(api).code == 204
    assert resize(api, desired_vcpus=2).code == 204
    until(lambda: vcpus(vm.pid) == ["vcpu0", "vcpu1"])


def test_without_a_machine_the_config_is_changed(served, work):
    vm, api = served
    assert resize(api, desired_vcpus=2).code == 404
    api.put("vm.create", small_config("park", cpus={"boot_vcpus": 1, "max_vcpus": 3}))
    assert resize(api, desired_vcpus=3).code == 204
    api.put("vm.boot")
    until(lambda: len(vcpus(vm.pid)) == 3)
    api.put("vm.shutdown")
    assert resize(api, desired_vcpus=2).code == 204
    api.put("vm.boot")
    until(lambda: len(vcpus(vm.pid)) == 2)


def test_many_resizes_and_reboots_race_and_leave_no_thread(served, work):
    vm, api = boot(served, work, "cpuhp=1000000 of=4", 1, 4)
    with Api(f"{work}/api") as other:
        for n in range(40):
            answer = resize(api, desired_vcpus=n * 3 % 4 + 1)
            assert answer.code in (204, 429), answer
            if n % 8 == 7:
                assert other.ask("PUT", "vm.reboot").code == 204
    api.put("vm.shutdown")
    assert vcpus(vm.pid) == []


GROWS = {"size": 128 << 20, "hotplug_size": 1280 << 20}


def actual(api):
    return api.get("vm.info")["memory_actual_size"] >> 20


def test_memory_comes_by_acpi_is_new_and_stays_after_a_reboot(served, work):
    vm, api = boot(served, work, "memhp=9", 1, 1, memory=GROWS)
    said = f"{work}/said"
    vm.wait_for_in(said, "R3 WAITS")
    for n, mib in enumerate((256, 512, 640)):
        assert resize(api, desired_ram=mib << 20).code == 204
        vm.wait_for_in(said, f"R3 MEMORY slot={n} ")
        assert actual(api) == mib
    text = open(said, encoding="ascii").read()
    assert "base=100000000 size=8000000" in text and "base=108000000 size=10000000" in text and "R3 FAIL" not in text
    config = api.get("vm.info")["config"]["memory"]
    assert (config["size"], config["hotplug_size"]) == (640 << 20, 1280 << 20)
    api.put("vm.reboot")
    assert actual(api) == 640
    assert resize(api, desired_ram=768 << 20).code == 204
    assert api.get("vm.counters")["__memhp"]["bytes"] == 128 << 20


def test_memory_that_can_not_come_is_refused_and_less_is_for_the_next_boot(served, work):
    _, api = boot(served, work, "park", 1, 1, memory=GROWS)
    for mib, word in ((192, "128 MiB"), (1536, "hotplug_size"), (0, "size")):
        answer = resize(api, desired_ram=mib << 20)
        assert answer.code == 400 and word in str(answer.json), answer
    answer = resize(api, desired_ram=(256 << 20) + 1)
    assert answer.code == 400, answer
    assert actual(api) == 128 and api.get("vm.info")["config"]["memory"]["size"] == 128 << 20
    for n in range(8):
        assert resize(api, desired_ram=(2 + n) * 128 << 20).code == 204
    answer = resize(api, desired_ram=10 * 128 << 20)
    assert answer.code == 400 and "slots" in str(answer.json), answer
    assert actual(api) == 9 * 128
    assert resize(api, desired_ram=256 << 20).code == 204
    assert actual(api) == 9 * 128
    api.put("vm.pause")
    assert resize(api, desired_ram=10 * 128 << 20).code == 405
    api.put("vm.resume")
    api.put("vm.reboot")
    assert actual(api) == 256


def test_of_several_amounts_all_are_taken_or_none(served, work):
    """One that the machine does not take holds up the others, whichever it is."""
    _, api = boot(served, work, "park", 1, 3, memory=GROWS, balloon={"size": 0})

    def amounts():
        config = api.get("vm.info")["config"]
        return config["cpus"]["boot_vcpus"], config["memory"]["size"] >> 20, config["balloon"]["size"], actual(api)
    start = amounts()
    for body in ({"desired_vcpus": 2, "desired_ram": 192 << 20}, {"desired_vcpus": 2, "desired_balloon": 1 << 40},
                 {"desired_ram": 256 << 20, "desired_balloon": 1}, {"desired_vcpus": 2, "desired_ram": 4 << 30}):
        assert resize(api, **body).code == 400 and amounts() == start, body
    assert resize(api, desired_vcpus=3).code == resize(api, desired_vcpus=2).code == 204
    start = amounts()
    assert resize(api, desired_vcpus=1, desired_ram=256 << 20, desired_balloon=1 << 20).code == 429
    assert amounts() == start


def test_a_machine_without_room_or_balloon_says_so(served, work):
    _, api = boot(served, work, "park", 1, 1)
    answer = resize(api, desired_ram=256 << 20)
    assert answer.code == 400 and "hotplug_size" in str(answer.json), answer
    answer = resize(api, desired_balloon=1 << 20)
    assert answer.code == 400 and "--balloon" in str(answer.json), answer


def test_the_balloon_is_resized_and_remembered(served, work):
    _, api = boot(served, work, "park", 1, 1, balloon={"size": 0})
    assert resize(api, desired_balloon=16 << 20).code == 204
    assert api.get("vm.info")["config"]["balloon"]["size"] == 16 << 20
    assert resize(api, desired_balloon=(16 << 20) + 1).code == 400
    assert resize(api, desired_balloon=128 << 20).code == 400
    assert api.get("vm.info")["config"]["balloon"]["size"] == 16 << 20


def test_a_balloon_that_fitted_a_larger_machine_begins_empty_in_the_next(served, work):
    """It kept the guest from rebooting."""
    vm, api = boot(served, work, "park", 1, 1, memory=GROWS, balloon={"size": 0})
    assert resize(api, desired_ram=512 << 20, desired_balloon=300 << 20).code == 204
    assert resize(api, desired_ram=128 << 20).code == 204
    api.put("vm.reboot")
    assert api.get("vm.counters")["__balloon"]["target_bytes"] == 0 and actual(api) == 128
    vm.wait_for("it begins empty")
    assert resize(api, desired_balloon=300 << 20).code == 400
    assert resize(api, desired_ram=512 << 20, desired_balloon=300 << 20).code == 204
    assert api.get("vm.counters")["__balloon"]["target_bytes"] == 300 << 20


def test_a_debugger_sees_vcpus_that_came_while_it_was_there(virga, work):
    virga("--api-socket", f"path={work}/api", "--gdb", f"path={work}/gdb", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config("park", cpus={"boot_vcpus": 1, "max_vcpus": 3}))
        api.put("vm.boot")
        g = GdbRemote(f"{work}/gdb")
        assert g.ask("?") == "T05thread:1;" and g.ask("qfThreadInfo") == "m1"
        assert resize(api, desired_vcpus=2).code == 405  # it stands for the debugger
        g.send("vCont;c")
        until(lambda: api.state() == "Running")
        assert resize(api, desired_vcpus=3).code == 204
        g.interrupt()
        assert g.reply().startswith("T02")
        assert g.ask("qfThreadInfo") == "m1,2,3" and g.ask("Hg3") == "OK"
        assert g.register("rip") == 0xfff0  # it waits for its start
        g.send("vCont;c")
        until(lambda: api.state() == "Running")
        g.interrupt()
        g.reply()
        assert g.ask("D") == "OK" and g.is_over()
        until(lambda: api.state() == "Running")
        api.put("vm.delete")


def test_a_saved_machine_whose_vcpus_had_left_goes_on_and_grows_again(served, work):
    vm, api = boot(served, work, "cpuhp=1000000 of=3", 1, 3)
    said = f"{work}/said"
    vm.wait_for_in(said, "R3 WAITS")
    for count, word in ((3, "R3 CAME cpu=2"), (1, "R3 WENT cpu=2")):
        assert resize(api, desired_vcpus=count).code == 204
        vm.wait_for_in(said, word)
    until(lambda: vcpus(vm.pid) == ["vcpu0"])
    os.mkdir(f"{work}/saved")
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{work}/saved"})
    api.put("vm.delete")
    os.unlink(said)
    api.put("vm.restore", {"source_url": f"file://{work}/saved"})
    if api.state() == "Paused":
        api.put("vm.resume")
    until(lambda: resize(api, desired_vcpus=3).code == 204)
    vm.wait_for_in(said, "R3 CAME cpu=2")
    assert "R3 FAIL" not in open(said, encoding="ascii").read()
    api.put("vm.delete")
    shutil.rmtree(f"{work}/saved")


def test_what_was_made_larger_and_smaller_fits_itself_at_restore(served, work):
    """More queues than vCPUs are left, and a balloon larger than the memory of the start."""
    vm, api = boot(served, work, "park", 2, 4, memory={"size": 128 * MIB, "hotplug_size": 256 * MIB}, balloon={"size": 0},
                   disks=[{"path": str(sparse(f"{work}/disk", MIB)), "num_queues": 4}])
    vm.wait_for_in(f"{work}/said", "R3 PARKED")
    assert resize(api, desired_ram=256 * MIB).code == 204
    answer = resize(api, desired_balloon=256 * MIB)
    assert answer.code == 400 and "takes all the guest's memory" in answer.error
    assert resize(api, desired_balloon=160 * MIB).code == 204
    assert resize(api, desired_vcpus=1).code == 204
    os.mkdir(f"{work}/snap")
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{work}/snap"})
    api.put("vm.delete")
    api.put("vm.restore", {"source_url": f"file://{work}/snap", "resume": True})
    assert api.get("vm.info")["config"]["balloon"]["size"] == 160 * MIB
    api.put("vm.delete")
    shutil.rmtree(f"{work}/snap")
    os.unlink(f"{work}/disk")


def saved_and_restored(api, work):
    """The VM as another one that went on from it, and once more from there."""
    for turn in ("one", "two"):
        os.mkdir(f"{work}/{turn}")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{work}/{turn}"})
        api.put("vm.delete")
        api.put("vm.restore", {"source_url": f"file://{work}/{turn}", "resume": True})
        shutil.rmtree(f"{work}/{turn}")


def test_a_size_for_the_next_boot_goes_along_in_a_snapshot(served, work):
    vm, api = boot(served, work, "park", 3, 4, memory=GROWS)
    vm.wait_for_in(f"{work}/said", "R3 PARKED")
    for mib, now in ((512, 512), (256, 512)):
        assert resize(api, desired_ram=mib * MIB).code == 204
        assert actual(api) == now
    assert resize(api, desired_vcpus=1).code == 204  # which this guest does not heed
    saved_and_restored(api, work)
    config = api.get("vm.info")["config"]
    assert (config["memory"]["size"], actual(api)) == (256 * MIB, 512)
    assert config["cpus"]["boot_vcpus"] == 1
    until(lambda: vcpus(vm.pid) == ["vcpu0", "vcpu1", "vcpu2"])
    api.put("vm.reboot")
    assert actual(api) == 256
    until(lambda: vcpus(vm.pid) == ["vcpu0"])
    assert resize(api, desired_ram=640 * MIB, desired_vcpus=2).code == 204
    for change in (lambda: saved_and_restored(api, work), lambda: api.put("vm.reboot")):
        change()
        assert actual(api) == 640
        until(lambda: vcpus(vm.pid) == ["vcpu0", "vcpu1"])
    # smaller than it was started with
    assert resize(api, desired_ram=64 * MIB).code == 204
    saved_and_restored(api, work)
    assert actual(api) == 640
    api.put("vm.reboot")
    assert actual(api) == 64


def test_a_snapshot_that_speaks_of_no_next_boot_has_all_memory_then(served, work):
    vm, api = boot(served, work, "park", 1, 1, memory=GROWS)
    vm.wait_for_in(f"{work}/said", "R3 PARKED")
    assert resize(api, desired_ram=256 * MIB).code == 204
    os.mkdir(f"{work}/old")
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{work}/old"})
    api.put("vm.delete")
    with open(f"{work}/old/state.json", encoding="ascii") as f:
        state = json.load(f)
    for size, code, word in ((1, 400, "4K"), (1 << 62, 400, "addresses"), (None, 204, "")):
        machine = state["machine"]
        machine["state"]["next_size"] = size
        if size is None:
            machine["v"] = 2
            del machine["state"]["next_size"]
        with open(f"{work}/old/state.json", "w", encoding="ascii") as f:
            json.dump(state, f)
        answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{work}/old", "resume": True})
        assert answer.code == code and word in str(answer.body), answer
    api.put("vm.reboot")
    assert actual(api) == 256
    api.put("vm.delete")
    shutil.rmtree(f"{work}/old")
