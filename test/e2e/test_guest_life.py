# SPDX-License-Identifier: Apache-2.0
"""The life of a VM over the REST API, with tiny guests: created, booted, paused, resumed, rebooted, shut down, booted
again, deleted, many times over, while others read; pauses that fall into a guest's work; and how the program ends."""
import os
import signal
import threading
import time

import pytest

from lib.api import Api, served, small_config  # noqa: F401 (fixture)
from lib.engines import ENGINES, verify_disks
from lib.guest import guest_file, report_of, sparse
from lib.process import descriptors_of
from lib.virga import PATIENCE, binary
from lib.wait import until

ROUNDS = 25
READS = ["vmm.ping", "vm.info", "vm.counters", "jobs"]
MIB = 1 << 20


class Readers:
    """Clients that read all they can, each on a connection of its own, until told to stop."""

    def __init__(self, path, count=3):
        self.stop, self.slowest, self.answers, self.wrong = threading.Event(), 0.0, 0, []
        self.threads = [threading.Thread(target=self.run, args=(path, n)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, path, n):
        try:
            with Api(path) as api:
                while not self.stop.is_set():
                    what = READS[n % len(READS)]
                    n += 1
                    start = time.monotonic()
                    answer = api.ask("GET", what)
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    self.answers += 1
                    # without a VM there is nothing to tell of it
                    if answer.code != 200 and not (answer.code == 404 and what.startswith("vm.")):
                        self.wrong.append((what, answer))
        except OSError as e:
            self.wrong.append(e)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def tasks(pid):
    """{name of a thread: ticks of processor time that it has used}"""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as f:
            name, _, rest = f.read().partition("(")[2].rpartition(")")
        fields = rest.split()
        found[name] = int(fields[11]) + int(fields[12])
    return found


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def spins(pid):
    return sum(ticks for name, ticks in tasks(pid).items() if name.startswith("vcpu"))


def stands(pid, seconds):
    """Its vCPUs use no time, but for a last tick on their way to sleep; test/unit/vm counts more exactly."""
    before = spins(pid)
    time.sleep(seconds)
    return spins(pid) <= before + 1


def until_it_spins(pid):
    before = spins(pid)
    until(lambda: spins(pid) >= before + 3, why="the guest does not go on")


def test_a_vm_lives_25_times_while_others_read_and_nothing_is_left(served, work):
    vm, api = served
    config = small_config("pause", cpus={"boot_vcpus": 2, "max_vcpus": 2}, serial={"mode": "File", "file": f"{work}/said"},
                          disks=[{"path": sparse(f"{work}/disk", MIB)}])
    first = None
    with Readers(f"{work}/api") as readers:
        for n in range(ROUNDS):
            api.put("vm.create", config)
            assert api.state() == "Created"
            api.put("vm.boot")
            vm.wait_for_in(f"{work}/said", "R3 PAUSED")  # it spins until it hears something
            api.put("vm.pause")
            assert api.state() == "Paused"
            assert stands(vm.pid, 0.05)
            api.put("vm.resume")
            until_it_spins(vm.pid)
            api.put("vm.reboot")
            assert api.state() == "Running"
            api.put("vm.pause")
            api.put("vm.shutdown")
            assert api.state() == "Shutdown"
            api.put("vm.boot")
            api.put("vm.delete")
            assert api.state() is None
            if n == 4:
                first = sorted(tasks(vm.pid)), resident_kib(vm.pid)
    assert not readers.wrong
    assert readers.answers > ROUNDS
    assert sorted(tasks(vm.pid)) == first[0] == ["virga"]
    assert resident_kib(vm.pid) < first[1] + 512
    api.close()
    assert len(descriptors_of(vm.pid)) < 16
    print(f"{readers.answers} reads, the slowest took {readers.slowest * 1000:.1f} ms")


def test_a_paused_guest_counts_no_time_and_goes_on_where_it_stood(served, work):
    vm, api = served
    api.put("vm.create", small_config("pause", serial={"mode": "File", "file": f"{work}/said"}))
    api.put("vm.boot")
    vm.wait_for_in(f"{work}/said", "R3 PAUSED")
    for _ in range(10):
        until_it_spins(vm.pid)
        api.put("vm.pause")
        assert stands(vm.pid, 0.1)
        api.put("vm.resume")
    until_it_spins(vm.pid)
    answer = api.ask("PUT", "vm.resume")
    assert answer.code == 405 and "Paused" in answer.error
    api.put("vm.pause")
    answer = api.ask("PUT", "vm.pause")
    assert answer.code == 405 and "Running" in answer.error


def storm_of_pauses(vm, api):
    """Pauses and resumes of all lengths until the guest has come to its end; how many."""
    pauses = 0
    while vm.status is None:
        for verb in ("pause", "resume"):
            try:
                answer = api.ask("PUT", f"vm.{verb}")
            except OSError:
                vm.wait()
                return pauses
            # the guest's own power-off is done before what waits
            assert answer.code in (204, 404, 405, 500), answer
            pauses += answer.code == 204
            time.sleep(0.001 * (pauses * 7 % 13))
        vm.look()
    return pauses


def run_under_pauses(virga, work, words, *args, console="off", program=None):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", words, "--cpus",
               "boot=2", "--memory", "size=128M", "--console", console, "--serial", f"file={work}/said", *args,
               overhead=False, program=program)
    vm.serial_path = f"{work}/said"
    with Api(f"{work}/api") as api:
        pauses = storm_of_pauses(vm, api)
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert pauses > 20
    return report


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_loses_nothing_under_a_storm_of_pauses(virga, work, tmp_path, engine):
    report = run_under_pauses(virga, work, "blkverify rounds=200", "--disk", *verify_disks(tmp_path, engine))
    assert all("bad=0" in line for line in report.all("VERIFIED"))


def test_a_card_loses_nothing_under_a_storm_of_pauses(virga, work, ns):
    ns.make_tap("tap0", 1)
    ns.answer("tap0", b"and a payload")
    run_under_pauses(virga, work, " ".join(["net feed"] * 8), "--net", "tap=tap0", program=ns.wrap(binary(), work))


def test_consoles_and_chips_lose_nothing_under_a_storm_of_pauses(virga, work):
    run_under_pauses(virga, work, "kib=32 constream rng con cmos rng smp serialstream rng constream",
                     console=f"file={work}/console")


def test_a_guest_that_resets_itself_is_paused_at_any_moment(served, work):
    vm, api = served
    api.put("vm.create", small_config("reset=3", serial={"mode": "File", "file": f"{work}/said"}))
    api.put("vm.boot")
    pauses = 0
    for n in range(60):
        answer = api.ask("PUT", "vm.pause")
        pauses += answer.code == 204
        time.sleep(0.001 * (n % 7))
        api.ask("PUT", "vm.resume")
    assert pauses > 20
    assert vm.status is None


def test_a_boot_that_prefaults_answers_reads_and_is_cancelled_by_a_shutdown(served, work):
    vm, api = served
    api.put("vm.create", small_config(memory={"size": 6 << 30, "prefault": True}))
    answer = api.ask("PUT", "vm.boot", headers=[("Prefer", "respond-async")])
    assert answer.code == 202
    number = answer.json["id"]
    with Api(f"{work}/api") as other, Readers(f"{work}/api") as readers:
        while not other.get(f"jobs/{number}").get("done"):
            pass
        other.put("vm.shutdown")
    assert not readers.wrong
    job = api.job(number)
    assert job["state"] == "Cancelled" and 0 < job["done"] < job["total"]
    assert "broken off" in ": ".join(job["error"])
    assert api.state() == "Created"
    api.put("vm.delete")


def test_a_signal_ends_a_program_whose_boot_prefaults(served, work):
    vm, api = served
    api.put("vm.create", small_config(memory={"size": 6 << 30, "prefault": True}))
    number = api.ask("PUT", "vm.boot", headers=[("Prefer", "respond-async")]).json["id"]
    while not api.get(f"jobs/{number}").get("done"):
        pass
    start = time.monotonic()
    os.kill(vm.pid, signal.SIGTERM)
    assert vm.wait() == 0
    assert time.monotonic() - start < 3 * PATIENCE
    assert not os.path.exists(f"{work}/api")


def test_a_confined_program_lives_on_and_removes_its_socket(served, work):
    vm, api = served
    config = small_config("park", landlock_enable=True, disks=[{"path": sparse(f"{work}/disk", MIB)}])
    for _ in range(2):
        api.put("vm.create", config)
        for verb in ("boot", "reboot", "pause", "resume", "shutdown", "boot", "delete"):
            api.put(f"vm.{verb}")
    api.put("vmm.shutdown")
    assert vm.wait() == 0
    assert set(os.listdir(work)) <= {"disk", "said"}


@pytest.mark.parametrize("stays", [False, True])
def test_a_guests_power_off_ends_the_program_unless_told_otherwise(virga, work, stays):
    vm = virga("--api-socket", f"path={work}/api", *(["--no-shutdown"] if stays else []), overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config("told"))
        api.put("vm.boot")
        if not stays:
            assert vm.wait() == 0
            return
        for _ in range(3):
            until(lambda: api.state() == "Shutdown")
            api.put("vm.boot")
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_a_payload_of_the_command_line_is_booted_and_its_failure_ends_the_program(virga, work):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "park",
               "--serial", f"file={work}/said", "--console", "off", overhead=False)
    with Api(f"{work}/api") as api:
        vm.wait_for_in(f"{work}/said", "R3 PARKED")
        assert api.state() == "Running"
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm = virga("--api-socket", f"path={work}/api", "--kernel", f"{work}/nothing", overhead=False)
    assert vm.wait() == 1
    assert "nothing" in vm.text and "No such file" in vm.text
