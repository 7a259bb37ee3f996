# SPDX-License-Identifier: Apache-2.0
"""The REST API as programs in the field use it. What libvirt's ch driver and Kata's generated Go client send is sent here
byte for byte, and what they read out of the answers is read."""
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lib.api import Api, served, small_config  # noqa: F401 (fixture)
from lib.guest import guest_file, pattern_disk
from lib.process import descriptors_of, threads_of
from lib.virga import binary
from lib.wait import until

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = os.path.join(HERE, "golden", "schemas")
EMPTY_PUT = "PUT /api/v1/{} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n"


def codes(api, *requests):
    return [api.ask(*request).code for request in requests]


def known_keys():
    """schema: {field: type} of what Cloud Hypervisor says, without what is ours."""
    found, schema = {}, None
    with open(KNOWN, encoding="utf-8") as f:
        for line in f:
            if line.startswith("# What is ours"):
                return found
            if line.startswith("\t"):
                found[schema][line.split()[0]] = line.split()[1]
            elif not line.startswith("#"):
                schema = line.split()[0]
                found[schema] = {}
    return found


def strangers(value, kind, known, path=""):
    """Keys and words of an answer that a strict client would stumble over."""
    if kind.startswith("["):
        return [s for i, item in enumerate(value) for s in strangers(item, kind[1:-1], known, f"{path}[{i}]")]
    if kind == "DeviceTree":
        return [s for key, item in value.items() for s in strangers(item, "DeviceNode", known, f"{path}.{key}")]
    if "|" in kind:
        return [] if value in kind.split("|") else [f"{path}: {value}"]
    if kind in ("string", "boolean", "integer"):
        right = {"string": str, "boolean": bool, "integer": int}[kind]
        return [] if isinstance(value, right) else [f"{path}: {value}"]
    if kind not in known:
        return []
    return [s for key, item in value.items()
            for s in (strangers(item, known[kind][key], known, f"{path}.{key}") if key in known[kind]
                      else [f"{path}.{key}"])]


# --- libvirt ---

@pytest.fixture
def as_cloud_hypervisor(tmp_path):
    """virga under the name by which drivers look for it."""
    path = tmp_path / "cloud-hypervisor"
    path.symlink_to(binary())
    return str(path)


def test_libvirt_drives_a_vm_from_its_first_word_to_its_last(virga, work, tmp_path, as_cloud_hypervisor):
    fifo = f"{tmp_path}/events"
    os.mkfifo(fifo)
    told = []
    reader = threading.Thread(target=lambda: told.append(open(fifo, encoding="utf-8").read()))
    reader.start()
    version = subprocess.run([as_cloud_hypervisor, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("cloud-hypervisor v")
    assert int(version.split("v", 2)[-1].split(".")[0]) >= 36
    vm = virga("--api-socket", "fd=3", "--event-monitor", f"path={fifo}", program=sys.executable,
               before=[f"{HERE}/lib/with_listener.py", f"{work}/api", as_cloud_hypervisor])
    # who connects before the program is there is answered when it is
    api = Api(f"{work}/api")
    os.unlink(f"{work}/api")
    api.send_raw(b"GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")
    ping = api.answer()
    assert ping.code == 200 and ping.json["pid"] == vm.pid
    assert version == f"cloud-hypervisor v{ping.json['version']}\n"
    pattern_disk(tmp_path / "disk")
    body = json.dumps({
        "cpus": {"boot_vcpus": 1, "max_vcpus": 1}, "memory": {"size": 128 << 20},
        "payload": {"kernel": guest_file("guest.elf"), "cmdline": "echo"},
        "disks": [{"path": f"{tmp_path}/disk", "readonly": False}], "rng": {"src": "/dev/urandom"},
        "console": {"mode": "Null"}, "serial": {"mode": "Pty"}}).encode()
    api.send_raw(b"PUT /api/v1/vm.create HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert api.answer().code == 204
    api.send_raw(EMPTY_PUT.format("vm.boot").encode())
    assert api.answer().code == 204
    info = api.get("vm.info")
    assert info["state"] == "Running"
    terminal = os.open(info["config"]["serial"]["file"], os.O_RDWR | os.O_NOCTTY)
    assert os.isatty(terminal)
    os.close(terminal)
    names = threads_of(vm.pid).values()
    for prefix in ("vcpu", "_disk"):
        assert any(name.startswith(prefix) for name in names), f"{prefix}: {names}"
    for verb in ("vm.pause", "vm.resume", "vm.reboot", "vm.shutdown", "vm.delete", "vmm.shutdown"):
        api.send_raw(EMPTY_PUT.format(verb).encode())
        answer = api.answer()
        assert (verb, answer.code, answer.body) == (verb, 204, b"")
    assert vm.wait() == 0
    api.close()
    reader.join(10)
    names = [json.loads(text)["event"] for text in told[0].split("\n\n") if text.strip()]
    for name in ("starting", "booting", "booted", "paused", "resumed", "rebooted", "shutdown", "deleted"):
        assert name in names, names


def test_curl_and_its_habits(virga, work, tmp_path):
    """curl asks before a long body (Expect), sends chunks when told to, and keeps its connection."""
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api"):
        pass
    with open(f"{tmp_path}/vm.json", "w", encoding="utf-8") as f:
        f.write(" " * (1 << 20) + json.dumps(small_config()))

    def curl(*args):
        run = subprocess.run(["curl", "-sS", "--max-time", "30", "--unix-socket", f"{work}/api", "-w", "%{http_code}\n", *args],
                             capture_output=True, text=True, check=True, timeout=60)
        return run.stdout
    url = "http://localhost/api/v1/"
    assert curl("-X", "PUT", "-d", f"@{tmp_path}/vm.json", "-H", "Expect: 100-continue", url + "vm.create") == "204\n"
    assert curl("-X", "PUT", url + "vm.delete", "-X", "PUT", url + "vm.delete") == "204\n204\n"
    assert curl("-X", "PUT", "-T", f"{tmp_path}/vm.json", "-H", "Transfer-Encoding: chunked", url + "vm.create") == "204\n"
    assert curl("-X", "PUT", "-H", "Content-Length: 0", url + "vm.delete") == "204\n"
    assert curl("-X", "PUT", "-T", "/dev/null", url + "vm.delete") == "204\n"
    assert curl(url + "vm.info").endswith("404\n")
    vm.stop()


# --- Kata ---

# the headers of its client, and the order of what it sends
GO = (("User-Agent", "OpenAPI-Generator/1.0.0/go"), ("Accept-Encoding", "gzip"))


def kata_config(folder):
    """What its client sends: it says every default that Cloud Hypervisor's document has."""
    return {
        "cpus": {"boot_vcpus": 1, "max_vcpus": 1, "kvm_hyperv": False, "nested": True, "features": {"amx": False}, "topology": {
            "threads_per_core": 1, "cores_per_die": 1, "dies_per_package": 1, "packages": 1}},
        "memory": {"size": 128 << 20, "shared": True, "hugepages": False, "mergeable": False, "prefault": False,
                   "reserve": False, "thp": True, "hotplug_method": "Acpi", "hotplug_size": 128 << 20},
        "payload": {"kernel": guest_file("guest.elf"), "cmdline": "park"},
        "rng": {"src": "/dev/urandom", "iommu": False},
        "disks": [{"path": f"{folder}/disk", "readonly": True, "direct": False, "num_queues": 1, "queue_size": 128,
                   "vhost_user": False, "iommu": False, "backing_files": False, "sparse": True, "image_type": "Raw",
                   "rate_limiter_config": {"bandwidth": {
                       "size": 1 << 20, "one_time_burst": 0, "refill_time": 1000}}}],
        "serial": {"mode": "Off", "iommu": False}, "console": {"mode": "File", "file": f"{folder}/console", "iommu": False},
        "iommu": False, "watchdog": False, "pvpanic": False, "landlock_enable": False,
        "platform": {"num_pci_segments": 1, "tdx": False, "sev_snp": False, "iommufd": False, "vfio_p2p_dma": True},
    }


def test_kata_finds_the_names_and_words_that_it_knows_and_no_others(virga, work, tmp_path):
    virga("--api-socket", f"path={work}/api", overhead=False)
    known = known_keys()
    pattern_disk(tmp_path / "disk")
    with Api(f"{work}/api") as api:
        assert strangers(api.get("vmm.ping"), "VmmPingResponse", known) == []
        api.put("vm.create", kata_config(tmp_path), headers=GO)
        assert strangers(api.get("vm.info"), "VmInfo", known) == []
        api.put("vm.boot", headers=GO)
        info = api.get("vm.info")
        assert strangers(info, "VmInfo", known) == []
        assert info["state"] == "Running" and info["memory_actual_size"] == 128 << 20
        tree = info["device_tree"]
        assert tree["_disk0"]["parent"] and tree[tree["_disk0"]["parent"]]["pci_bdf"].startswith("0000:00:")
        counters = api.get("vm.counters")
        assert {"read_bytes", "write_bytes", "read_ops", "write_ops"} <= set(counters["_disk0"])
        assert all(isinstance(n, int) for device in counters.values() for n in device.values())
        # what comes out of the VM goes into another
        api.put("vm.shutdown", headers=GO)
        api.put("vm.delete", headers=GO)
        api.put("vm.create", info["config"], headers=GO)
        assert api.get("vm.info")["config"] == info["config"]


def test_kata_passes_the_taps_of_a_card_with_the_request(virga, work):
    """They are kept for the machine that is to come, and go with the card; those of one refused go at once."""
    card = {"id": "eth0", "mac": "02:00:ca:fe:00:04", "num_queues": 4, "queue_size": 256, "fds": [10, 11],
            "ip": "192.168.249.1", "mask": "255.255.255.0", "vhost_user": False, "vhost_mode": "Client", "iommu": False,
            "offload_tso": True, "offload_ufo": True, "offload_csum": True}
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config(cpus={"boot_vcpus": 2, "max_vcpus": 2}))
        before = descriptors_of(vm.pid)
        taps = [os.open("/dev/null", os.O_RDWR) for _ in range(4)]
        for _ in range(100):
            assert api.ask("PUT", "vm.add-net", card, headers=GO, fds=taps[:2]).code == 204
            assert len(descriptors_of(vm.pid)) == len(before) + 2
            answer = api.ask("PUT", "vm.add-net", card, headers=GO, fds=taps[:2])
            assert answer.code == 409 and "the id 'eth0' is taken" in answer.error
            assert api.ask("PUT", "vm.remove-device", {"id": "eth0"}).code == 204
            answer = api.ask("PUT", "vm.add-net", card, headers=GO, fds=taps)
            assert answer.code == 400 and "a descriptor is needed for each pair" in answer.error
            assert descriptors_of(vm.pid) == before
        for fd in taps:
            os.close(fd)


# --- what all of them rely on ---

@pytest.fixture
def api(virga, work):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as one:
        one.vm = vm
        yield one


def test_errors_are_sentences_from_the_outermost_inward(api):
    answer = api.ask("PUT", "vm.create", {"payload": {}, "disks": [{"path": "x"}, {"num_queues": "two"}]})
    assert answer.code == 400 and answer.headers["content-type"] == "application/json"
    assert answer.json == ["vm.create", "the body", "disks[1]", "num_queues", "is a string, must be a whole number"]


def test_bodies_are_refused_by_name_and_place(api):
    for body, words in [
            (b'{"payload":{},"cpu":{}}', "unknown key 'cpu' (did you mean 'cpus'?)"),
            (b'{"payload":{"kernal":"x"}}', "payload: unknown key 'kernal' (did you mean 'kernel'?)"),
            (b'{"payload":{},"payload":{}}', "payload"),
            (b'{"payload":{"kernel":"\xff"}}', "unable to decode byte 0xff"),
            (b"[" * 100 + b"]" * 100, "nested deeper than"),
            (b'{"cpus":{"boot_vcpus":0,"max_vcpus":1},"payload":{}}', "cpus: boot_vcpus: 0 is not within"),
            (b'{"cpus":{"boot_vcpus":2,"max_vcpus":1},"payload":{"kernel":"k"}}', "max is below boot"),
            (b'{"cpus":[],"payload":{}}', "cpus: is an array, must be an object"),
            (b'{"memory":{"size":1}}', "'payload' is missing"),
            (b'{"payload":{"kernel":5}}', "payload: kernel: is a number, must be a string"),
            (b"[]", "is an array, must be an object"),
            (b"", "the body is missing"),
            (b"{", "line 1")]:
        answer = api.ask("PUT", "vm.create", body)
        assert answer.code == 400 and words in answer.error, f"{body}: {answer}"
        assert api.state() is None


def test_keys_that_were_once_are_taken_with_a_word(api):
    config = small_config(sgx_epc=[{"id": "epc", "size": 4096}],
                          platform={"uuid": "8d5f6d2c-0f0c-4a4c-8d43-3a0f3f1f9f10", "serial_number": "s"})
    config["memory"]["file"] = "/dev/shm"
    api.put("vm.create", config)
    assert api.get("vm.info")["config"]["platform"]["system_serial_number"] == "s"
    for words in ("'sgx_epc' has no effect any more", "'uuid' is now called 'system_uuid'", "'file' has no effect"):
        api.vm.wait_for(words)


def test_a_wrong_state_names_those_that_would_do(api):
    assert codes(api, *[("PUT", f"vm.{verb}") for verb in ("boot", "shutdown", "reboot", "pause", "resume", "nmi",
                                                         "power-button")]) == [404] * 7
    assert codes(api, ("GET", "vm.info"), ("GET", "vm.counters"), ("PUT", "vm.delete")) == [404, 404, 204]
    api.put("vm.create", small_config())
    for verb in ("shutdown", "reboot", "pause", "resume", "nmi", "power-button"):
        answer = api.ask("PUT", f"vm.{verb}")
        assert answer.code == 405 and "Created" in answer.error and ("Running" in answer.error or "Paused" in answer.error)
    answer = api.ask("PUT", "vm.create", small_config())
    assert answer.code == 405 and "vm.delete comes first" in answer.error
    api.put("vm.boot")
    answer = api.ask("PUT", "vm.boot")
    assert answer.code == 405 and "Created, Shutdown" in answer.error
    assert "must be one of: Paused" in api.ask("PUT", "vm.resume").error
    api.put("vm.pause")
    assert "must be one of: Running" in api.ask("PUT", "vm.pause").error


def test_a_path_is_known_or_not_and_a_method_fits_or_not(api):
    assert codes(api, ("GET", "nothing"), ("GET", "vm.inf"), ("GET", "jobs/x"), ("GET", "jobs/7"), ("PUT", "jobs/7/cancel"),
                 ("PUT", "vmm.ping"), ("GET", "vm.boot"), ("DELETE", "vm.info"), ("POST", "vm.create")) == [
                     404, 404, 404, 404, 404, 400, 400, 400, 400]


def test_more_descriptors_than_belong_are_refused(api):
    api.get("vmm.ping")
    before = descriptors_of(api.vm.pid)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    answer = api.ask("PUT", "vm.create", small_config(), fds=fds)
    assert answer.code == 400 and "3 descriptors came" in answer.error
    answer = api.ask("PUT", "vm.add-device", {"path": "x"}, fds=fds)
    assert answer.code == 400 and "at most 1" in answer.error
    assert api.ask("GET", "vmm.ping", fds=fds).code == 400
    assert api.state() is None and descriptors_of(api.vm.pid) == before
    for fd in fds:
        os.close(fd)


def test_every_route_that_is_not_built_says_so(api):
    """After the body and the state have been judged, as for any other."""
    api.put("vm.create", small_config())
    for path, body in [("vm.add-fs", {"tag": "t", "socket": "s", "num_queues": 1, "queue_size": 8}),
                       ("vm.add-device", {"path": "x"}), ("vm.add-user-device", {"socket": "x"}),
                       ("vm.add-vdpa", {"path": "x", "num_queues": 1}),
                       ("vm.add-generic-vhost-user", {"socket": "x", "queue_sizes": [8], "device_type": 1})]:
        answer = api.ask("PUT", path, body)
        assert answer.code == 501 and "can not" in answer.error, f"{path}: {answer}"
        assert api.ask("PUT", path, {"nobody_knows": 1}).code == 400
        assert api.ask("PUT", path).code == 400
    assert api.ask("PUT", "vm.snapshot", {"destination_url": "file:///x"}).code == 405
    assert api.ask("PUT", "vm.restore", {"source_url": "file:///x"}).code == 405


# --- jobs ---

def test_a_job_is_answered_at_once_and_told_of_until_after_its_end(api):
    api.put("vm.create", small_config())
    answer = api.ask("PUT", "vm.boot", headers=[("Prefer", "respond-async")])
    assert answer.code == 202 and answer.headers["preference-applied"] == "respond-async"
    number = answer.json["id"]
    assert answer.headers["location"] == f"/api/v1/jobs/{number}"
    assert answer.json["verb"] == "boot"
    assert api.job(number)["state"] == "Done" and api.state() == "Running"
    failed = api.put("vm.boot", headers=[("Prefer", "respond-async")])
    job = api.job(failed["id"])
    assert job["state"] == "Failed" and "Created, Shutdown" in ": ".join(job["error"])
    listed = api.get("jobs")["jobs"]
    assert [j["id"] for j in listed] == sorted(j["id"] for j in listed)
    assert {number, failed["id"]} <= {j["id"] for j in listed}
    assert api.ask("PUT", f"jobs/{number}/cancel").code == 405


def test_a_prefaulting_boot_is_told_of_and_broken_off(api, work):
    """Reads are answered meanwhile; a cancelled boot leaves what was before."""
    config = small_config()
    config["memory"] = {"size": 2 << 30, "prefault": True, "thp": False}
    api.put("vm.create", config)
    number = api.put("vm.boot", headers=[("Prefer", "respond-async")])["id"]
    with Api(f"{work}/api") as other:
        seen = other.get(f"jobs/{number}")
        assert other.state() in ("Created", "Running") and other.get("vm.counters") is not None
        answer = other.ask("PUT", f"jobs/{number}/cancel")
        job = other.job(number)
        if job["state"] == "Cancelled":
            assert answer.code == 204 and other.state() == "Created"
            assert seen["total"] in (0, 2 << 30) or seen["total"] > 2 << 30
        else:
            assert job["state"] == "Done" and other.state() == "Running"
        other.put("vm.delete")


def test_a_client_that_leaves_while_it_waits_takes_nothing_with_it(api, work):
    before = descriptors_of(api.vm.pid)
    api.put("vm.create", small_config())
    for _ in range(20):
        with Api(f"{work}/api") as other:
            other.send("PUT", "vm.reboot" if api.state() == "Running" else "vm.boot")
    until(lambda: all(job["state"] not in ("Waiting", "Running") for job in api.get("jobs")["jobs"]))
    assert api.state() == "Running"
    api.put("vm.delete")
    assert len(descriptors_of(api.vm.pid)) <= len(before) + 1


# --- events ---

def event_of(stream):
    """The next event of a stream, whatever chunks it came in."""
    while b"\n\n" not in stream.text:
        stream.text += stream.chunk()
    one, stream.text = stream.text.split(b"\n\n", 1)
    return json.loads(one)


def test_events_stream_as_they_happen(api, work):
    with Api(f"{work}/api") as stream:
        stream.text = b""
        stream.send("GET", "events")
        code, headers = stream.head()
        assert code == 200 and headers["transfer-encoding"] == "chunked"
        api.put("vm.create", small_config())
        api.put("vm.boot")
        api.put("vm.pause")
        api.put("vm.resume")
        api.put("vm.delete")
        wanted = ["booting", "booted", "pausing", "paused", "resuming", "resumed", "shutdown", "deleted"]
        for name in wanted:
            event = event_of(stream)
            assert (event["source"], event["event"]) == ("vm", name)
            assert set(event["timestamp"]) == {"secs", "nanos"}
    for _ in range(50):
        with Api(f"{work}/api") as passing:
            passing.send("GET", "events")
    assert api.state() is None


def test_a_reader_of_events_that_never_reads_holds_up_nobody(api, work):
    with Api(f"{work}/api") as silent:
        silent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        silent.send("GET", "events")
        api.put("vm.create", small_config())
        api.put("vm.boot")
        for _ in range(50):
            api.put("vm.pause")
            api.put("vm.resume")
        assert api.state() == "Running"


def test_many_clients_ask_while_a_vm_lives_and_dies(virga, work):
    """Memory and descriptors stay flat."""
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    api = Api(f"{work}/api")
    api.put("vm.create", small_config())
    api.put("vm.boot")
    stop = threading.Event()
    failed = []

    def read_on():
        try:
            with Api(f"{work}/api") as one:
                while not stop.is_set():
                    for path in ("vmm.ping", "vm.info", "vm.counters", "jobs"):
                        answer = one.ask("GET", path)
                        if answer.code not in (200, 404):
                            failed.append(answer)
        except OSError as e:
            failed.append(e)

    readers = [threading.Thread(target=read_on) for _ in range(6)]
    for reader in readers:
        reader.start()
    for _ in range(5):
        api.put("vm.pause")
        api.put("vm.resume")
        api.put("vm.reboot")
        api.put("vm.shutdown")
        api.put("vm.boot")
        api.put("vm.delete")
        api.put("vm.create", small_config())
        api.put("vm.boot")
    stop.set()
    for reader in readers:
        reader.join()
    assert failed == []
    api.put("vmm.shutdown")
    api.close()
    assert vm.wait() == 0


# --- who says back what Cloud Hypervisor told ---

def test_a_configuration_as_cloud_hypervisor_tells_it_is_taken(served, work):  # noqa: F811
    """Its vm.info says null for every member that is not there; tools keep it and say it again."""
    place = {"id": None, "pci_segment": 0, "pci_device_id": None}
    disk = {"path": pattern_disk(f"{work}/disk", 1), "readonly": False, "direct": False, "iommu": False, "num_queues": 1,
            "queue_size": 128, "vhost_user": False, "vhost_socket": None, "rate_limit_group": None, "serial": None,
            "rate_limiter_config": None, "disable_io_uring": False, "disable_aio": False, "queue_affinity": None,
            "backing_files": False, "sparse": True, "image_type": "Raw", "lock_granularity": "ByteRange", **place}
    card = {"tap": None, "ip": None, "mask": None, "mac": "2e:9a:1b:33:44:55", "host_mac": None, "mtu": None, "iommu": False,
            "num_queues": 2, "queue_size": 256, "vhost_user": False, "vhost_socket": None, "vhost_mode": "Client",
            "fds": None, "rate_limiter_config": None, "offload_tso": True, "offload_ufo": True, "offload_csum": True, **place}
    memory = {"size": 128 << 20, "mergeable": False, "hotplug_method": "Acpi", "hotplug_size": None, "hotplugged_size": None,
              "shared": False, "hugepages": False, "hugepage_size": None, "prefault": False, "zones": None, "thp": True}
    absent = ("rate_limit_groups", "generic_vhost_user", "fs", "devices", "user_devices", "vdpa", "pvmemcontrol", "numa",
              "rtc", "pci_segments", "tpm", "landlock_rules", "ivshmem", "platform")
    config = small_config(memory=memory, disks=[disk], net=[card], **dict.fromkeys(absent))
    config["rng"] = {"src": "/dev/urandom", "iommu": False, **place}
    config["balloon"] = {"size": 0, "deflate_on_oom": False, "free_page_reporting": False, "iommu": False, **place}
    config["pmem"] = [{"file": work, "size": 2 << 20, "iommu": False, "discard_writes": False, **place}]
    config["vsock"] = {"cid": 3, "socket": f"{work}/vsock", "iommu": False, **place}
    config["payload"] |= dict.fromkeys(("firmware", "initramfs", "igvm", "host_data", "fw_cfg_config"))
    config["serial"] |= {"file": None, "socket": None}
    config["console"] |= {"file": None, "socket": None, "iommu": False, **place}
    config["cpus"] |= {"topology": None, "affinity": None, "features": {"amx": False}, "core_scheduling": "Vm"}
    _, api = served
    assert codes(api, ("PUT", "vm.create", config)) == [204], api.ask("PUT", "vm.create", config)
    told = api.get("vm.info")["config"]
    assert codes(api, ("PUT", "vm.delete"), ("PUT", "vm.create", told)) == [204, 204], "and so is what we tell"
    assert api.get("vm.info")["config"] == told
