# SPDX-License-Identifier: Apache-2.0
"""The API over D-Bus: a build with it, a bus of the test's own, busctl and virga-remote as clients."""
import json
import os
import shutil
import subprocess
import time
from xml.etree import ElementTree

import pytest

from lib.api import Api, small_config
from lib.virga import PATIENCE, TOP

SECONDS = 30 * PATIENCE
BUILD = TOP / "out/build-dbus"
# The same by the other compiler, under its sanitizers.
STRICT = ["-Db_sanitize=address,undefined", "-Doptimization=0", "-Ddebug=false"]
pytestmark = pytest.mark.xdist_group("dbus")  # one at a time may build
both_builds = pytest.mark.parametrize("programs", ["plain", "strict"], indirect=True)
NAME, OBJECT, INTERFACE = "org.virga.Test", "/org/virga/Test", "org.cloudhypervisor.DBusApi1"
# What Cloud Hypervisor has, and the three kinds of calls that it lacks.
METHODS = """VmmPing VmmShutdown VmAddDevice VmAddDisk VmAddFs VmAddGenericVhostUser VmAddNet VmAddPmem VmAddUserDevice
VmAddVdpa VmAddVsock VmBoot VmCoredump VmCounters VmCreate VmDelete VmInfo VmPause VmPowerButton VmReboot VmRemoveDevice
VmResize VmResizeZone VmRestore VmReceiveMigration VmSendMigration VmResume VmShutdown VmSnapshot
VmNmi VmResizeDisk VmAddNetFds VmAddDeviceFds VmRestoreFds VmReceiveMigrationFds""".split()


def build(folder, options, env):
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", folder, TOP, "-Ddbus=true", "-Dtests=false", "--buildtype", "debugoptimized", *options],
                       check=True, capture_output=True, env={**os.environ, **env})
    subprocess.run(["ninja", "-C", folder, "virga", "virga-remote"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def programs(request):
    """Programs with D-Bus; they are linked dynamically, so they are a build of their own."""
    for tool in ("dbus-daemon", "busctl"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool} here: install the packages dbus-daemon and systemd")
    if subprocess.run(["pkg-config", "--exists", "libsystemd"], check=False).returncode:
        pytest.skip("there is no libsystemd here: install the package libsystemd-dev")
    if getattr(request, "param", "plain") == "plain":
        return build(BUILD, [], {})
    if not shutil.which("clang"):
        pytest.skip("there is no clang here")
    return build(TOP / "out/build-dbus-strict", STRICT, {"CC": "clang"})


class Bus:
    def __init__(self, where):
        self.address = f"unix:path={where}/bus"
        self.daemon = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.address}",
                                        "--print-address=1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.daemon.stdout.readline()
        self.env = {"DBUS_SESSION_BUS_ADDRESS": self.address}

    def begin_again(self):
        """A new bus at the old address, some time after the end."""
        self.__init__(self.address.removeprefix("unix:path=").removesuffix("/bus"))

    def end(self):
        self.daemon.kill()
        self.daemon.wait()
        self.daemon.stdout.close()

    def busctl(self, *words):
        return subprocess.run(["busctl", f"--address={self.address}", "--json=short", *map(str, words)], text=True,
                              capture_output=True, check=False, timeout=SECONDS)

    def wait(self):
        end = time.monotonic() + SECONDS
        while self.busctl("status", NAME).returncode:
            assert time.monotonic() < end, "the service does not come"

    def try_call(self, method, *words):
        return self.busctl("call", NAME, OBJECT, INTERFACE, method, *words)

    def call(self, method, *words):
        """What the method returns, as JSON."""
        done = self.try_call(method, *words)
        assert done.returncode == 0, f"{method}: {done.stderr}"
        told = json.loads(done.stdout)["data"] if done.stdout.strip() else []
        return json.loads(told[0]) if told and told[0] else None

    def fails(self, method, *words):
        done = self.try_call(method, *words)
        assert done.returncode == 1, f"{method} went well: {done.stdout}"
        return done.stderr


@pytest.fixture
def bus(programs, tmp_path):
    one = Bus(tmp_path)
    yield one
    one.end()


@pytest.fixture
def start(programs, virga, bus):
    def begin(*args):
        vm = virga("--dbus-service-name", NAME, "--dbus-object-path", OBJECT, *args, program=str(programs / "virga"),
                   env={**bus.env, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1"}, overhead=False)
        bus.wait()
        return vm
    return begin


@both_builds
def test_a_machine_lives_by_calls(bus, start):
    vm = start()
    assert "dbus_api" in bus.call("VmmPing")["features"]
    assert bus.call("VmCreate", "s", json.dumps(small_config())) is None
    assert bus.call("VmInfo")["state"] == "Created"
    for method, state in (("VmBoot", "Running"), ("VmPause", "Paused"), ("VmResume", "Running"), ("VmReboot", "Running"),
                          ("VmPowerButton", "Running"), ("VmShutdown", "Shutdown"), ("VmBoot", "Running")):
        assert bus.call(method) is None
        assert bus.call("VmInfo")["state"] == state
    assert isinstance(bus.call("VmCounters"), dict)
    job, = [j for j in bus.call("Jobs")["jobs"] if j["verb"] == "pause"]
    assert bus.call("Job", "t", job["id"])["state"] == "Done"
    bus.call("VmDelete")
    bus.call("VmmShutdown")
    assert vm.wait() == 0


def test_methods_are_those_of_cloud_hypervisor_and_what_it_lacks(bus, start):
    start()
    told = bus.busctl("call", NAME, OBJECT, "org.freedesktop.DBus.Introspectable", "Introspect").stdout
    tree = ElementTree.fromstring(json.loads(told)["data"][0])
    interface = tree.find(f"interface[@name='{INTERFACE}']")
    shape = {}
    for method in interface.findall("method"):
        ways = {"in": "", "out": ""}
        for arg in method.findall("arg"):
            ways[arg.get("direction")] += arg.get("type")
        shape[method.get("name")] = (ways["in"], ways["out"])
    assert not set(METHODS) - set(shape)
    assert [arg.get("type") for arg in interface.findall("signal[@name='Event']/arg")] == ["s"]
    for method in METHODS:
        takes, gives = shape[method]
        assert takes in ("", "s", "sah") and gives in ("", "s")
        assert takes.endswith("ah") == method.endswith("Fds")
    bus.call("VmmShutdown")


@both_builds
def test_a_refusal_is_an_error_with_its_sentences(bus, start):
    start()
    assert "there is no virtual machine" in bus.fails("VmInfo")
    assert "vm.create: the body: line 1" in bus.fails("VmCreate", "s", "no JSON")
    assert "the body is missing" in bus.fails("VmCreate", "s", "")
    assert "there is no job 7" in bus.fails("JobCancel", "t", 7)
    assert "Unknown method" in bus.fails("VmNonsense")
    assert "Invalid arguments" in bus.fails("VmBoot", "s", "{}")
    bus.call("VmCreate", "s", json.dumps(small_config()))
    assert "Running" in bus.fails("VmPause")
    bus.call("VmmShutdown")


# busctl passes no descriptors; Debian's python3-dbus does.
PASS_FDS = f"""
import dbus, os, sys
api = dbus.Interface(dbus.SessionBus().get_object("{NAME}", "{OBJECT}"), "{INTERFACE}")
fds = dbus.Array([dbus.types.UnixFd(os.dup(0)) for _ in range(int(sys.argv[3]))], signature="h")
try:
    print(getattr(api, sys.argv[1])(sys.argv[2], fds))
except dbus.DBusException as e:
    print(e.get_dbus_message())
"""


@both_builds
def test_descriptors_come_with_a_call(bus, start):
    if subprocess.run(["/usr/bin/python3", "-c", "import dbus"], check=False, capture_output=True).returncode:
        pytest.skip("there is no python3-dbus here: install it")

    def passed(method, body, count):
        return subprocess.run(["/usr/bin/python3", "-c", PASS_FDS, method, body, str(count)], text=True, check=True,
                              capture_output=True, env={**os.environ, **bus.env}, timeout=SECONDS).stdout

    start()
    bus.call("VmCreate", "s", json.dumps(small_config()))
    folder = f"/proc/{bus.call('VmmPing')['pid']}/fd"
    before = len(os.listdir(folder))
    assert "2 descriptors came, and at most 1" in passed("VmAddDeviceFds", "{}", 2)
    assert "253" not in passed("VmAddNetFds", '{"num_queues": 32}', 16)
    assert len(os.listdir(folder)) == before
    bus.call("VmmShutdown")


def test_events_are_signals(bus, start):
    start()
    watch = subprocess.Popen(["busctl", f"--address={bus.address}", "--json=short", "monitor",
                              "--match", f"type=signal,interface={INTERFACE}"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(0.3 * PATIENCE)
    bus.call("VmCreate", "s", json.dumps(small_config()))
    bus.call("VmBoot")
    seen = []
    while "booted" not in seen:
        row = json.loads(watch.stdout.readline())
        if row.get("member") == "Event":
            event = json.loads(row["payload"]["data"][0])
            assert event["source"] and set(event["timestamp"]) == {"secs", "nanos"}
            seen.append(event["event"])
    watch.kill()
    watch.wait()
    watch.stdout.close()
    assert "booting" in seen
    bus.call("VmmShutdown")


def test_both_ways_lead_to_one_machine(bus, start, work):
    vm = start("--api-socket", f"path={work}/api")
    with Api(f"{work}/api") as api:
        bus.call("VmCreate", "s", json.dumps(small_config()))
        api.put("vm.boot")
        bus.call("VmPause")
        assert api.state() == "Paused"
        api.put("vm.resume")
        assert bus.call("VmInfo")["state"] == "Running"
        # A bus that dies takes nothing with it.
        bus.end()
        assert api.state() == "Running"
        api.put("vmm.shutdown")
    assert vm.wait() == 0


@both_builds
def test_a_bus_that_comes_back_finds_the_service_again(bus, start, work):
    vm = start("--api-socket", f"path={work}/api")
    with Api(f"{work}/api") as api:
        bus.call("VmCreate", "s", json.dumps(small_config()))
        for _ in range(2):
            bus.end()
            os.unlink(bus.address.removeprefix("unix:path="))
            assert api.state() == "Created"
            time.sleep(1.2)
            bus.begin_again()
            bus.wait()
            assert bus.call("VmInfo")["state"] == "Created"
        bus.call("VmmShutdown")
    assert vm.wait() == 0


def test_virga_remote_speaks_it_too(bus, start, programs):
    vm = start()
    target = [programs / "virga-remote", "--dbus-service-name", NAME, "--dbus-object-path", OBJECT]

    def remote(*words, say=""):
        return subprocess.run([*map(str, [*target, *words])], text=True, capture_output=True, check=False, input=say,
                              env={**os.environ, **bus.env}, timeout=SECONDS)

    assert json.loads(remote("ping").stdout)["pid"] > 0
    assert remote("create", say=json.dumps(small_config())).returncode == 0
    assert json.loads(remote("info").stdout)["state"] == "Created"
    assert json.loads(remote("jobs").stdout) == {"jobs": []}
    refused = remote("pause")
    assert refused.returncode == 1 and refused.stderr.startswith("virga-remote: pause: vm.pause: ")
    assert "there is no job 3" in remote("job", 3).stderr
    assert "at most 1" not in remote("add-device", "fd=2").stderr
    assert remote("--async", "boot").returncode == 1
    assert remote("shutdown-vmm").returncode == 0
    assert vm.wait() == 0


@pytest.mark.parametrize("args,sentence", [
    (["--dbus-service-name", NAME], "say both or neither"),
    (["--dbus-system-bus"], "say --dbus-service-name"),
    (["--dbus-service-name", "no name", "--dbus-object-path", OBJECT], "--dbus-service-name"),
    (["--dbus-service-name", NAME, "--dbus-object-path", "relative"], "--dbus-object-path"),
])
def test_wrong_names_are_refused(programs, bus, args, sentence):
    done = subprocess.run([programs / "virga", *args], text=True, capture_output=True, check=False,
                          env={**os.environ, **bus.env}, timeout=SECONDS)
    assert done.returncode == 1 and sentence in done.stderr, done.stderr


def test_without_a_bus_it_does_not_start(programs, tmp_path):
    done = subprocess.run([programs / "virga", "--dbus-service-name", NAME, "--dbus-object-path", OBJECT], text=True,
                          capture_output=True, check=False, timeout=SECONDS,
                          env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"})
    assert done.returncode == 1 and "connect to the session bus" in done.stderr
