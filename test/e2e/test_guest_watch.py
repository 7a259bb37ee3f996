# SPDX-License-Identifier: Apache-2.0
"""By what a machine is watched: metrics, counters, the tree of devices, events."""
import json
import os
import re
import subprocess
import time

import pytest

from lib.api import Api
from lib.guest import sparse, start_guest  # noqa: F401 (fixture)
from lib.wait import until

# Debian's python has the parser; the one that runs this file may be another.
PARSE = """
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
print(json.dumps([[f.name, f.type, f.unit, [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in families(sys.stdin.read())]))
"""
CH_COUNTERS = {"read_bytes", "write_bytes", "read_ops", "write_ops",
               *(f"{way}_latency_{what}" for way in ("read", "write") for what in ("min", "max", "avg"))}


def scrape(api):
    """{(sample, labels): value} of what the metrics say, which a parser of others has read."""
    answer = api.ask("GET", "metrics")
    assert answer.code == 200
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    text = answer.body.decode()
    run = subprocess.run(["/usr/bin/python3", "-c", PARSE], input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr + text
    return {(name, tuple(sorted(labels.items()))): value
            for _, _, _, samples in json.loads(run.stdout) for name, labels, value in samples}


def value(metrics, name, **labels):
    return metrics[(name, tuple(sorted(labels.items())))]


def values(metrics, name):
    return {dict(labels).get("kind") or labels: v for (n, labels), v in metrics.items() if n == name}


@pytest.fixture
def sock(tmp_path):
    return tmp_path / "api"


def disk(tmp_path):
    return f"path={sparse(tmp_path / 'disk', 16 << 20)}"


def test_metrics_are_openmetrics_in_every_state(start_guest, sock, tmp_path):
    vm = start_guest("park", "--api-socket", sock, "--disk", disk(tmp_path))
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        running = scrape(api)
        assert value(running, "virga_vm_state", virga_vm_state="Running") == 1
        assert value(running, "virga_memory_guest_bytes") == vm.ram_kib << 10
        assert sum(values(running, "virga_vcpu_exits_total").values()) > 0
        assert value(running, "virga_vcpu_cpu_seconds_total", vcpu="0") > 0
        assert value(running, "virga_blk_read_bytes_total", device="_disk0") == 0
        assert value(running, "virga_events_total", source="vm", event="booted") == 1
        assert value(running, "virga_jobs_total") == 1
        assert value(running, "virga_api_request_duration_seconds_count", route="vm.info") >= 1
        # once running, once more: only counts of what passes on grow
        again = scrape(api)
        assert value(again, "virga_api_request_duration_seconds_count", route="metrics") >= 1
        for (name, labels), v in running.items():
            if name.endswith(("_total", "_count", "_bucket")):
                assert again[(name, labels)] >= v, name
        for verb, state in (("vm.pause", "Paused"), ("vm.resume", "Running"), ("vm.shutdown", "Shutdown")):
            api.put(verb)
            now = scrape(api)
            assert value(now, "virga_vm_state", virga_vm_state=state) == 1
        assert not [n for n, _ in now if n.startswith(("virga_blk_", "virga_vcpu_"))]
        assert value(now, "virga_memory_guest_bytes") == vm.ram_kib << 10
        api.put("vm.delete")
        none = scrape(api)
        assert not any(values(none, "virga_vm_state").values())
        assert not values(none, "virga_memory_guest_bytes")
        assert value(none, "virga_events_total", source="vm", event="deleted") == 1
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_memory_beside_the_guests_is_what_the_kernel_says(start_guest, sock):
    vm = start_guest("park", "--api-socket", sock, memory="256M,prefault=on")
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        m = scrape(api)
        told, real = value(m, "virga_memory_overhead_bytes") / 1024, vm.weigh()["rss_kib"]
        assert abs(told - real) < 0.25 * real, (told, real)
        guest = value(m, "virga_memory_guest_resident_bytes")
        assert abs(guest - (256 << 20)) < 2 << 20
        assert value(m, "process_resident_memory_bytes") > guest
        api.put("vmm.shutdown")


def test_counters_and_metrics_tell_of_the_same(start_guest, sock, tmp_path):
    vm = start_guest("blk park", "--api-socket", sock, "--disk", disk(tmp_path))
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        until(lambda: api.ask("GET", "vm.counters").json["_disk0"]["read_ops"])
        time.sleep(0.3)
        counters, m = api.ask("GET", "vm.counters").json, scrape(api)
        assert CH_COUNTERS <= set(counters["_disk0"])
        for key in ("read_bytes", "write_bytes", "read_ops", "write_ops", "flush_ops"):
            assert counters["_disk0"][key] == value(m, f"virga_blk_{key}_total", device="_disk0")
        assert counters["_disk0"]["read_time"] == round(value(m, "virga_blk_read_time_seconds_total",
                                                              device="_disk0") * 1e6)
        assert counters["_disk0"]["read_latency_min"] <= counters["_disk0"]["read_latency_avg"]
        assert counters["_disk0"]["read_latency_avg"] <= counters["_disk0"]["read_latency_max"]
        # a new machine counts anew
        api.put("vm.shutdown")
        api.put("vm.boot")
        assert api.ask("GET", "vm.info").json["state"] == "Running"
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_info_has_the_tree_and_where_consoles_are(start_guest, sock, tmp_path):
    vm = start_guest("park", "--api-socket", sock, "--disk", disk(tmp_path), serial="pty", console="pty")
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        info = api.ask("GET", "vm.info").json
        assert info["memory_actual_size"] == vm.ram_kib << 10
        for console in ("serial", "console"):
            assert re.fullmatch(r"/dev/pts/\d+", info["config"][console]["file"])
            assert os.path.exists(info["config"][console]["file"])
        tree = info["device_tree"]
        for name, node in tree.items():
            assert node["id"] == name and isinstance(node["resources"], list)
            for child in node["children"]:
                assert tree[child]["parent"] == name
        transport = tree["_virtio-pci-_disk0"]
        assert re.fullmatch(r"0000:00:[0-9a-f]{2}\.0", transport["pci_bdf"])
        bar = transport["resources"][0]["PciBar"]
        assert bar["size"] == 512 << 10 and bar["base"] and bar["type_"] in ("Mmio32", "Mmio64")
        api.put("vm.shutdown")
        info = api.ask("GET", "vm.info").json
        assert "device_tree" not in info and info["memory_actual_size"] == vm.ram_kib << 10
        assert api.ask("GET", "vm.counters").code != 500
        api.put("vmm.shutdown")


class Stream:
    """Events as the API streams them."""

    def __init__(self, path):
        self.api = Api(path)
        self.api.send("GET", "events")
        self.code, self.headers = self.api.head()
        self.text = b""

    def look(self):
        part = self.api.chunk()
        self.text += part
        return part

    def events(self):
        parts = self.text.decode().split("\n\n")
        assert parts.pop() == ""
        return [json.loads(part) for part in parts]

    def names(self):
        return [(e["source"], e["event"]) for e in self.events()]

    def until(self, name):
        while name not in [n for _, n in self.names()]:
            assert self.look()


def test_events_are_streamed_in_the_form_of_the_monitor(start_guest, sock, tmp_path):
    file = tmp_path / "events"
    vm = start_guest("park", "--api-socket", sock, "--event-monitor", f"path={file}")
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        stream, other = Stream(sock), Stream(sock)
        assert stream.code == 200 and stream.headers["transfer-encoding"] == "chunked"
        other.api.close()
        for verb in ("pause", "resume", "reboot", "shutdown", "boot", "delete"):
            api.put(f"vm.{verb}")
        stream.until("deleted")
        assert stream.names() == [("vm", name) for name in (
            "pausing", "paused", "resuming", "resumed", "rebooting", "rebooted", "shutdown", "booting", "booted",
            "shutdown", "deleted")]
        for e in stream.events():
            assert list(e) == ["timestamp", "source", "event", "properties"]
            assert list(e["timestamp"]) == ["secs", "nanos"] and e["properties"] is None
        until(lambda: value(scrape(api), "virga_event_subscribers") == 1)
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    with open(file, encoding="utf-8") as f:
        told = f.read()
    assert stream.text.decode() in told and '"starting"' in told


def test_who_never_reads_events_holds_nobody_up(start_guest, sock, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    vm = start_guest("park", "--api-socket", sock, "--event-monitor", f"path={fifo}")
    with Api(sock) as api:
        until(lambda: api.state() == "Running")
        deaf = [Stream(sock) for _ in range(3)]
        slowest = 0
        for _ in range(400):
            api.put("vm.pause")
            api.put("vm.resume")
            begun = time.monotonic()
            api.ask("GET", "vmm.ping")
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 1
        # the FIFO's reader comes at last, and finds the beginning
        with open(fifo, encoding="utf-8") as f:
            first = json.loads(f.readline())
            assert (first["source"], first["event"]) == ("vmm", "starting")
            m = scrape(api)
            assert value(m, "virga_events_total", source="vm", event="paused") == 400
            for s in deaf:
                s.api.close()
            api.put("vmm.shutdown")
    assert vm.wait() == 0
