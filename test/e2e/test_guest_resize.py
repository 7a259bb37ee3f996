# SPDX-License-Identifier: Apache-2.0
"""vCPUs that come and go while a guest runs: started by INIT and SIPI, at work, let go of, and started again."""
import os
import time

import pytest

from lib.api import Api, small_config
from lib.virga import PATIENCE


@pytest.fixture
def served(virga, work):
    """A virga with the API and no VM, and a connection to it."""
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        yield vm, api
    for name in ("said", "core"):
        if os.path.exists(f"{work}/{name}"):
            os.unlink(f"{work}/{name}")


def vcpus(pid):
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
            names.append(f.read().strip())
    return sorted(name for name in names if name.startswith("vcpu"))


def until(what):
    end = time.monotonic() + 20 * PATIENCE
    while not what():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.01)


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
