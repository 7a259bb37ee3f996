# SPDX-License-Identifier: Apache-2.0
"""Snapshots beside everything else that is asked of a machine at the same time: each is one moment of it, whole, and what was under way at
that moment comes to its end in the restored machine too."""
import contextlib
import json
import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from lib.api import Api, served, small_config  # noqa: F401 (fixture)
from lib.guest import pattern_disk
from lib.wait import until

MIB = 1 << 20
MODES = ["Map", "Copy", "OnDemand"]
SNAPSHOTS = int(os.environ.get("VIRGA_TEST_RACES", "8"))
REFUSALS = (400, 404, 405, 409, 429)


class Client(threading.Thread):
    """Somebody who asks again and again, on a connection of their own, what `asks` gives next; told no without being told why, it is wrong."""

    def __init__(self, path, asks):
        super().__init__(daemon=True)
        self.path, self.asks = path, asks
        self.over, self.codes, self.wrong = threading.Event(), {}, None
        self.start()

    def run(self):
        try:
            with Api(self.path) as api:
                while not self.over.is_set():
                    method, what, body = self.asks()
                    answer = api.ask(method, what, body)
                    self.codes[answer.code] = self.codes.get(answer.code, 0) + 1
                    if answer.code not in (200, 204) and (answer.code not in REFUSALS or not answer.error):
                        self.wrong = f"{what} {body}: {answer}"
                        break
        except (OSError, ValueError) as e:
            self.wrong = repr(e)

    def end(self):
        self.over.set()
        self.join(60)
        assert not self.wrong and not self.is_alive(), self.wrong
        return self.codes


@contextlib.contextmanager
def clients(path, *asks):
    all_of_them = [Client(path, one) for one in asks]
    yield
    for one in all_of_them:
        codes = one.end()
        assert codes.keys() - {405}, f"nothing that it asked for could be: {codes}"


def plugs(work, name, rng):
    """A disk that comes, and one of the ways in which it goes."""
    def ask():
        if rng.random() < 0.5:
            return "PUT", "vm.add-disk", {"id": name, "path": f"{work}/{name}"}
        return "PUT", "vm.remove-device", {"id": name, **rng.choice([{}, {"wait": 0.02}, {"force": True}])}
    return ask


def resizes(rng):
    amounts = [{"desired_vcpus": n} for n in (1, 2, 3, 4)] + [{"desired_balloon": n * MIB} for n in (0, 4, 32)] + [{"desired_ram": 192 * MIB}]
    return lambda: ("PUT", "vm.resize", rng.choice(amounts))


def looks(rng):
    return lambda: ("GET", rng.choice(["vm.info", "vm.info", "vm.counters", "metrics"]), None)


def restore(api, path, **more):
    os.path.exists(f"{path}/state.json") or pytest.fail(f"nothing in {path}")
    api.put("vm.restore", {"source_url": f"file://{path}", **more})


def is_whole(path):
    """The files agree with each other; the configuration that is in them."""
    state, config = (json.loads((path / name).read_text()) for name in ("state.json", "config.json"))
    last = state["machine"]["state"]["ranges"][-1]
    assert (path / "memory-ranges").stat().st_size == last["off"] + last["size"]
    assert sorted(os.listdir(path)) == ["config.json", "memory-ranges", "state.json"]
    saved = {device["id"] for device in state["devices"]}
    assert {disk["id"] for disk in config["disks"]} <= saved
    return config


@pytest.fixture(name="tidy")
def tidies(work):
    """A directory for snapshots, and disks of these names."""
    os.mkdir(f"{work}/snaps")
    names = [pattern_disk(f"{work}/{name}", 1) for name in ("first", "hot", "warm")]
    yield Path(f"{work}/snaps")
    shutil.rmtree(f"{work}/snaps")
    for name in (*names, f"{work}/said"):
        if os.path.exists(name):
            os.unlink(name)


def machine(work, words, **more):
    return small_config(words, **{"serial": {"mode": "File", "file": f"{work}/said"}, "disks": [{"id": "first", "path": f"{work}/first"}],
                                  "memory": {"size": 64 * MIB, "hotplug_size": 256 * MIB}, "balloon": {"size": 0},
                                  "cpus": {"boot_vcpus": 2, "max_vcpus": 4}, **more})


@pytest.mark.parametrize("how", ["that stands", "that goes on between them"])
def test_a_snapshot_among_changes_is_one_moment_of_a_machine(served, work, tidy, how):
    vm, api = served
    rng = random.Random(how)
    api.put("vm.create", machine(work, "hotplug=1000000 idle"))
    api.put("vm.boot")
    vm.wait_for_in(f"{work}/said", "R3 READY")
    api.put("vm.pause")
    path = f"{work}/api"
    stands = how == "that stands"
    # who stands has no other size
    with clients(path, plugs(work, "hot", rng), plugs(work, "warm", rng), looks(rng) if stands else resizes(rng), looks(rng)):
        for n in range(SNAPSHOTS):
            place = tidy / str(n // 2)  # each second one takes the place of another
            place.mkdir(exist_ok=True)
            api.put("vm.snapshot", {"destination_url": f"file://{place}"})
            if not stands:
                api.put("vm.resume")
                time.sleep(rng.random() * 0.03)
                api.put("vm.pause")
    (tidy / "last").mkdir()
    api.put("vm.snapshot", {"destination_url": f"file://{tidy}/last"})
    info = api.get("vm.info")["config"]
    api.put("vm.delete")
    assert "R3 FAIL" not in vm.file_text(f"{work}/said")
    for name in sorted(os.listdir(tidy)):
        config = is_whole(tidy / name)
        restore(api, tidy / name, memory_restore_mode=rng.choice(MODES))
        restored = api.get("vm.info")["config"]
        assert restored == info or name != "last"
        del restored["memory"], config["memory"]  # what came since the boot is in the state
        assert restored == config
        api.put("vm.resume")
        # the guest looks at its disk, and lets go of what it was asked for before or is now
        api.ask("PUT", "vm.add-disk", {"id": "warm", "path": f"{work}/warm"})
        assert api.ask("PUT", "vm.remove-device", {"id": "warm", "wait": 20}).code in (204, 404)
        assert "R3 FAIL" not in vm.file_text(f"{work}/said") and api.state() == "Running"
        api.put("vm.delete")


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_the_guest_is_asked_for_leaves_the_restored_machine_too(served, work, tidy, mode):
    vm, api = served
    api.put("vm.create", machine(work, "hotplug=2"))
    api.put("vm.boot")
    vm.wait_for_in(f"{work}/said", "R3 READY")
    for name in ("hot", "warm"):
        api.put("vm.add-disk", {"id": name, "path": f"{work}/{name}"})
    api.put("vm.pause")
    with Api(f"{work}/api") as waiting:
        waiting.send("PUT", "vm.remove-device", {"id": "hot", "wait": 20})
        until(lambda: api.get("vm.counters")["__pcihp"]["requests"])
        api.put("vm.snapshot", {"destination_url": f"file://{tidy}"})
        assert "hot" in api.get("vm.info")["device_tree"]
        api.put("vm.resume")
        assert waiting.answer().code == 204
    assert "hot" not in api.get("vm.info")["device_tree"]
    api.put("vm.delete")
    restore(api, tidy, memory_restore_mode=mode)
    assert {"hot", "warm"} <= set(api.get("vm.info")["device_tree"])
    api.put("vm.resume")
    until(lambda: "hot" not in api.get("vm.info")["device_tree"])
    assert "warm" in api.get("vm.info")["device_tree"]
    api.put("vm.remove-device", {"id": "warm", "wait": 20})
    vm.wait_for_in(f"{work}/said", "R3 EXIT 0")


def into_another_life(vm, api, work, tidy):
    """Saves the machine and restores it; what the guest said before."""
    said = f"{work}/said"
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{tidy}"})
    config = api.get("vm.info")["config"]
    api.put("vm.delete")
    text = vm.file_text(said)
    os.unlink(said)
    restore(api, tidy)
    assert api.get("vm.info")["config"] == config
    api.put("vm.resume")
    return text


def test_processors_that_are_asked_for_come_and_go_in_the_restored_machine(served, work, tidy):
    vm, api = served
    rng = random.Random(4)
    api.put("vm.create", machine(work, "cpuhp=1000000 of=4"))
    api.put("vm.boot")
    vm.wait_for_in(f"{work}/said", "R3 WAITS")
    for vcpus, words in ((4, "R3 CAME cpu=3"), (1, "R3 WENT cpu=3"), (3, "R3 CAME cpu=2"), (1, "R3 WENT cpu=2")) * 2:
        api.put("vm.resize", {"desired_vcpus": vcpus})
        time.sleep(rng.random() * 0.002)
        text = into_another_life(vm, api, work, tidy)
        assert api.get("vm.info")["config"]["cpus"]["boot_vcpus"] == vcpus
        until(lambda: words in text + vm.file_text(f"{work}/said"), 20, lambda: f"no {words}: {text}")
        assert "R3 FAIL" not in text + vm.file_text(f"{work}/said")
    api.put("vm.delete")


def test_memory_that_is_asked_for_comes_in_the_restored_machine(served, work, tidy):
    vm, api = served
    api.put("vm.create", machine(work, "memhp=2"))
    api.put("vm.boot")
    vm.wait_for_in(f"{work}/said", "R3 WAITS")
    for n in (1, 2):
        api.put("vm.resize", {"desired_ram": (64 + 128 * n) * MIB})
        text = into_another_life(vm, api, work, tidy)
        until(lambda: f"R3 MEMORY slot={n - 1}" in text + vm.file_text(f"{work}/said"), 20, lambda: f"no memory in slot {n - 1}: {text}")
    vm.wait_for_in(f"{work}/said", "R3 EXIT 0")


ENDS = ["vm.delete", "vm.shutdown", "vm.reboot", "vm.resume", "vm.snapshot", "vmm.shutdown"]


@pytest.mark.parametrize("verb", ENDS)
def test_who_ends_a_machine_while_it_is_saved_finds_it_saved_or_not_at_all(served, work, tidy, verb):
    vm, api = served
    rng = random.Random(verb)
    place = {"destination_url": f"file://{tidy}"}
    for _ in range(1 if verb == "vmm.shutdown" else 5):
        if api.state() is None:
            api.put("vm.create", machine(work, "touch=8 park"))
        if api.state() in ("Created", "Shutdown"):
            api.put("vm.boot")
        if api.state() == "Running":
            api.put("vm.pause")
        with Api(f"{work}/api") as other:
            other.send("PUT", "vm.snapshot", place)
            time.sleep(rng.random() * 0.03)
            ended = api.ask("PUT", verb, place if verb == "vm.snapshot" else None)
            saved = other.answer()
        assert ended.code in (200, 204), ended
        assert saved.code == 204 or saved.code in REFUSALS and saved.error, saved
        if os.listdir(tidy):
            is_whole(tidy)
        assert saved.code != 204 or os.listdir(tidy)
    if verb == "vmm.shutdown":
        assert vm.wait() == 0
        api.connect = lambda: None
