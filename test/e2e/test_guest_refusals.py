# SPDX-License-Identifier: Apache-2.0
"""Whether a host can go on from a snapshot: all that is in the way is named at once, before anything is made."""
import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess

import pytest

from lib.api import Api, small_config
from lib.virga import binary, remote_binary


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A snapshot of a machine with many devices, and their files."""
    from lib.place import Local
    from lib.virga import Virga
    top = tmp_path_factory.mktemp("saved")
    (top / "snap").mkdir()
    for name, mib in (("disk", 1), ("pmem", 2), ("shared", 1)):
        with open(top / name, "wb") as f:
            f.truncate(mib << 20)
    passt = socket.socket(socket.AF_UNIX)
    passt.bind(f"{top}/passt")
    passt.listen(64)  # nobody takes them
    vm = Virga(Local(), ["--api-socket", f"path={top}/api"])
    with Api(f"{top}/api") as api:
        api.put("vm.create", small_config(
            memory={"size": 64 << 20}, disks=[{"path": f"{top}/disk"}], pmem=[{"file": f"{top}/pmem", "id": "p"}],
            ivshmem={"path": f"{top}/shared", "size": 1 << 20}, vsock={"cid": 3, "socket": f"{top}/vsock"},
            net=[{"id": "n", "stream": f"{top}/passt"}], serial={"mode": "File", "file": f"{top}/said"}))
        api.put("vm.boot")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{top}/snap"})
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm.close()
    yield top
    passt.close()


def change_state(state):
    state["vcpus"][0]["v"] = 99
    for row in state["cpuid"]["state"]["leaves"]:
        if row["leaf"] == 7:
            row["ecx"] = 0xffffffff
    for device in state["devices"]:
        if device["id"] == "__rng":
            device["pv"] = 98
        if device["id"] == "__cmos":
            device["v"] = 97
        if device["id"] == "p":
            device["id"] = "q"


def spoil(top, to):
    """A copy that cannot be, for one reason of each kind; and the words of these."""
    shutil.copytree(top / "snap", to)
    state = json.loads((to / "state.json").read_text())
    change_state(state)
    (to / "state.json").write_text(json.dumps(state))
    config = json.loads((to / "config.json").read_text())
    config["net"][0]["stream"] = f"{to}/nobody"
    config["serial"]["file"] = f"{to}/none/said"
    config["ivshmem"]["path"] = f"{to}/none"
    config["disks"][0]["path"] = f"{to}/disk"
    (to / "config.json").write_text(json.dumps(config))
    os.truncate(to / "memory-ranges", 4096)
    with open(to / "disk", "wb") as f:
        f.truncate(2 << 20)
    return ["memory-ranges has 4096 bytes", "version 99", "processor lacks", "version 98", "version 97",
            "device p: nothing of it was saved", "device q was saved", "4096 sectors, and had 2048", "nobody; a program",
            "none/said", "ivshmem: "]


def tree(path):
    return {name: os.stat(f"{folder}/{name}").st_mtime_ns for folder, _, names in os.walk(path) for name in names}


def test_all_that_is_in_the_way_is_named_at_once(virga, work, saved, tmp_path):
    words = spoil(saved, tmp_path / "snap")
    before = tree(saved) | tree(tmp_path)
    vm = virga("--restore", f"source_url=file://{tmp_path}/snap", overhead=False)
    assert vm.wait() == 1
    print(vm.text)
    assert [w for w in words if w not in vm.text] == []
    assert f"{len(words)} things are in the way" in vm.text
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        for check in (False, True):
            answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{tmp_path}/snap", "check": check})
            assert answer.code == 400 and [w for w in words if w not in answer.error] == []
            assert answer.json[0] == "vm.restore" and api.state() is None
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    assert tree(saved) | tree(tmp_path) == before


def test_what_is_said_of_devices_that_are_not_there_hides_nothing_else(saved, tmp_path):
    with_words = {
        "disks=[id=nix,path=/x:id=_disk0,path=/none/disk:id=nor,path=/y]": ["of the name nix", "of the name nor", "/none/disk"],
        "pmem=[id=q,file=/z]": ["pmem: the snapshot has none of the name q"], "tpm_socket=/t": ["tpm: the snapshot has none"],
        "zone_updates=[zz@0]": ["no memory zone zz"], "net_fds=[m@[5]]": ["no network card m"],
        "vsock_socket=/none/v": ["device _vsock1: listen at /none/v"],
    }
    asked = remote("snapshot-check", saved / "snap", "--with", ",".join(with_words))
    words = [w for some in with_words.values() for w in some]
    assert asked.returncode == 1 and [w for w in words if w not in asked.stderr] == [], asked.stderr
    assert f"{len(words)} things are in the way" in asked.stderr

    shutil.copytree(saved / "snap", tmp_path / "snap")
    config = json.loads((tmp_path / "snap/config.json").read_text())
    config["net"][0] = {"id": "n", "fds": [-1]}
    config["disks"][0]["path"] = "/none/disk"
    (tmp_path / "snap/config.json").write_text(json.dumps(config))
    asked = remote("snapshot-check", tmp_path / "snap")
    assert "2 things are in the way" in asked.stderr and "/none/disk" in asked.stderr
    assert "device n: it was on 1 descriptors of its caller: open others, and say net_fds" in asked.stderr


def test_reasons_beyond_the_room_of_an_answer_are_told_too(saved, tmp_path):
    shutil.copytree(saved / "snap", tmp_path / "snap")
    state = json.loads((tmp_path / "snap/state.json").read_text())
    for n in range(40):
        state["devices"].append({**state["devices"][-1], "id": f"more{n}"})
    (tmp_path / "snap/state.json").write_text(json.dumps(state))
    asked = remote("snapshot-check", tmp_path / "snap")
    assert asked.returncode == 1 and "the others are in the log" in asked.stderr
    assert [n for n in range(40) if f"more{n} " not in asked.stderr] == [], asked.stderr


def test_options_of_a_machine_do_not_go_with_one_that_was_saved(virga, saved):
    vm = virga("--cpus", "boot=3", "--restore", f"source_url=file://{saved}/snap", overhead=False)
    assert vm.wait() == 1 and "--cpus does not go with --restore" in vm.text


def test_who_restores_a_vm_that_nobody_can_resume_is_warned(virga, saved):
    vm = virga("--restore", f"source_url=file://{saved}/snap", overhead=False)
    vm.wait_for("say resume=on")
    vm.stop()


def test_a_lone_reason_keeps_its_kind(virga, work, saved):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        def refused(**overrides):
            answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{saved}/snap", "check": True, "overrides": overrides})
            assert "things are in the way" not in answer.error
            return answer.code, answer.error

        code, words = refused(disks=[{"id": "_disk0", "path": f"{work}/none"}])
        assert code == 404 and "device _disk0" in words
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(f"{work}/taken")
            taken.listen(1)
            code, words = refused(vsock={"socket": f"{work}/taken"})
            assert code == 409 and "in use by another process" in words
        os.unlink(f"{work}/taken")
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_a_question_makes_nothing(virga, work, saved):
    before = tree(saved)
    vm = virga("--restore", f"source_url=file://{saved}/snap,check=on", overhead=False)
    assert vm.wait() == 0 and vm.text == "this host can go on from it\n"
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.restore", {"source_url": f"file://{saved}/snap", "check": True})
        assert api.state() is None
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    assert tree(saved) == before


def test_who_asks_hears_that_memory_will_be_copied(virga, work, tmp_path):
    (tmp_path / "snap").mkdir()
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config(memory={"size": 64 << 20, "shared": True}))
        api.put("vm.boot")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap"})
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    asked = remote("snapshot-check", tmp_path / "snap")
    assert asked.stdout == "this host can go on from it\n"
    assert "memory at 0x0 is copied: memory that other processes share cannot be shown from a file" in asked.stderr


def remote(*args):
    return subprocess.run([remote_binary(), *map(str, args)], capture_output=True, text=True, timeout=60, check=False)


def test_virga_remote_takes_a_url_where_it_takes_a_directory(saved):
    for url in (f"{saved}/snap", f"file://{saved}/snap"):
        assert remote("snapshot-check", url).stdout == "this host can go on from it\n"
        assert remote("snapshot-inspect", url).stdout.startswith("saved by")


def test_virga_remote_says_whether_this_host_can(saved, tmp_path):
    before = tree(saved)
    done = remote("snapshot-check", saved / "snap")
    assert (done.returncode, done.stdout, done.stderr) == (0, "this host can go on from it\n", "")
    words = spoil(saved, tmp_path / "a, \"b\"")
    done = remote("snapshot-check", tmp_path / "a, \"b\"")
    assert done.returncode == 1 and [w for w in words if w not in done.stderr] == []
    done = remote("snapshot-check", saved / "snap", "--with", "disks=[id=_disk0,path=/none],serial_file=/none/x")
    assert done.returncode == 1 and "2 things are in the way" in done.stderr
    done = remote("snapshot-check", tmp_path / "none")
    assert done.returncode == 1 and "No such file" in done.stderr
    done = remote("snapshot-check", saved / "snap", "--program", tmp_path / "none")
    assert done.returncode == 1 and "No such file" in done.stderr
    assert tree(saved) == before


def test_virga_remote_shows_what_is_in_a_snapshot(saved, tmp_path):
    done = remote("snapshot-inspect", saved / "snap")
    assert done.returncode == 0 and "64.0 MiB" in done.stdout and "_disk0           blk" in done.stdout
    assert f'"path":"{saved}/disk"' in done.stdout
    told = json.loads(remote("snapshot-inspect", "--json", saved / "snap").stdout)
    assert told["config"]["vsock"]["cid"] == 3 and told["vcpus"] == 1 and told["memory"]["bytes"] == 64 << 20
    assert 0 < told["memory"]["data_bytes"] < 4 << 20
    assert {"id": "p", "class": "pmem", "v": 2, "pv": 1} in told["devices"]
    for words in ([], [tmp_path], [saved / "snap", "--yaml"], [saved / "snap", "more"]):
        done = remote("snapshot-inspect", *words)
        assert done.returncode in (1, 2) and done.stderr.startswith("virga-remote: ") and not done.stdout


def test_a_tap_that_nobody_may_make_is_in_the_way(saved):
    """Whoever may, makes it, as at a start."""
    asked = [binary(), "--restore", f"source_url=file://{saved}/snap,check=on,net=[id=n,tap=vtnone]"]
    done = subprocess.run(["setpriv", "--bounding-set=-net_admin", *asked], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "device n: there is no tap vtnone, and no right to make it" in done.stderr
    if os.geteuid() == 0:
        assert subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


# --- each thing that a machine is made of, broken in its ways ---

F_OFD_SETLK = 37
MIB = 1 << 20


@contextlib.contextmanager
def in_place_of(path, make):
    """Something else where a file is; make(path) may return what has a close()."""
    os.rename(path, f"{path}.away")
    try:
        with contextlib.ExitStack() as held:
            it = make(path)
            if it:
                held.callback(it.close)
            yield
    finally:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        elif os.path.lexists(path):
            os.unlink(path)
        os.rename(f"{path}.away", path)


def nothing(_):
    return None


def sized(size):
    def make(path):
        with open(path, "wb") as f:
            f.truncate(size)
    return make


def listener(path, kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(path)
    if kind == socket.SOCK_STREAM:
        sock.listen(1)
    return sock


def dead(path):
    listener(path).close()


def packets(path):
    return listener(path, socket.SOCK_DGRAM)


FILES = [("disk", nothing, "there is no disk image"), ("disk", os.mkdir, "is a directory"), ("disk", os.mkfifo, "neither a file"),
         ("disk", sized(4096), "has 8 sectors, and had 2048"), ("disk", sized(2 * MIB), "has 4096 sectors"),
         ("disk", sized(0), "is empty"),
         ("pmem", nothing, "device p: "), ("pmem", os.mkdir, "a directory needs a size"), ("pmem", os.mkfifo, "neither a regular"),
         ("pmem", sized(4096), "no multiple of 2M"), ("pmem", sized(4 * MIB), "it has 4194304 bytes, and had 2097152"),
         ("shared", nothing, "device __ivshmem"), ("shared", os.mkdir, "is a directory"), ("shared", sized(4096), "has 4096 bytes"),
         ("passt", nothing, "device n: connect to"), ("passt", dead, "Connection refused"), ("passt", packets, "wrong type")]


def refused_twice(api, url, words, conf=None, **more):
    """By a question, and by a restore, which has made nothing then."""
    body = {"source_url": url, **more}
    for check in (True, False):
        answer = api.ask("PUT", "vm.restore", {**body, "check": check})
        assert 400 <= answer.code <= 500 and words in answer.error, (conf, answer)
        assert "restore the VM" not in answer.error and api.state() is None


def test_a_socket_that_is_taken_and_where_nobody_listens_is_told_with_the_rest(asked, saved, work):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"{work}/deaf")
        where = {"net": [{"id": "n", "stream": f"{work}/deaf"}]}
        refused_twice(asked, f"file://{saved}/snap", "deaf; a program such as passt must listen there: Connection refused",
                      overrides=where)
        refused_twice(asked, f"file://{saved}/snap", "2 things are in the way",
                      overrides=where | {"disks": [{"id": "_disk0", "path": f"{work}/none"}]})
        deaf.listen(1)
        asked.put("vm.restore", {"source_url": f"file://{saved}/snap", "overrides": where, "check": True})
    os.unlink(f"{work}/deaf")


@pytest.fixture
def asked(virga, work):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        yield api
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_whatever_is_not_as_it_was_is_told_before_anything_is_made(asked, saved):
    for name, make, words in FILES:
        with in_place_of(f"{saved}/{name}", make):
            refused_twice(asked, f"file://{saved}/snap", words, (name, make))
    asked.put("vm.restore", {"source_url": f"file://{saved}/snap", "check": True})


def test_a_file_that_others_have_is_told_by_who_only_asks(asked, saved):
    whole = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
    for name in ("disk", "pmem"):
        with open(f"{saved}/{name}", "rb") as reader:
            fcntl.fcntl(reader, F_OFD_SETLK, whole)
            refused_twice(asked, f"file://{saved}/snap", "in use by another program")
    asked.put("vm.restore", {"source_url": f"file://{saved}/snap", "check": True})


CHANGES = [("memory is less", {"memory": {"size": 32 * MIB}}, "has 33554432 bytes of memory, and the snapshot 67108864"),
           ("more than addresses", {"memory": {"size": 1 << 60}}, "leaves no addresses for devices"),
           ("a node", {"memory": {"size": 0, "zones": [{"id": "z", "size": 64 * MIB, "host_numa_node": 999}]}}, "host_numa_node=999"),
           ("a zone's file", {"memory": {"size": 0, "zones": [{"id": "z", "size": 64 * MIB, "file": "/none"}]}}, "memory zone z"),
           ("an affinity", {"cpus": {"boot_vcpus": 1, "max_vcpus": 1, "affinity": [{"vcpu": 0, "host_cpus": [1000]}]}}, "host CPU 1000"),
           ("no serial port", {"serial": {"mode": "Off"}}, "device __serial was saved"),
           ("a debug port's file", {"debug_console": {"mode": "File", "file": "/none/x"}}, "--debug-console: open /none/x"),
           ("a console's place", {"serial": {"mode": "Socket", "socket": "/none/x"}}, "--serial: listen at /none/x"),
           ("a serial directory", {"serial": {"mode": "File", "file": "/"}}, "--serial: open /: Is a directory"),
           ("no watchdog then", {"watchdog": True}, "device __watchdog: nothing of it was saved"),
           ("no TPM then", {"tpm": {"socket": "/none"}}, "device __tpm: nothing of it was saved"),
           ("a rule", {"landlock_enable": True, "landlock_rules": [{"path": "/none", "access": "r"}]}, "--landlock-rules: /none")]


def test_a_configuration_that_does_not_fit_is_told_before_anything_is_made(asked, saved, tmp_path):
    shutil.copytree(saved / "snap", tmp_path / "snap")
    config = json.loads((saved / "snap/config.json").read_text())
    for what, changed, words in CHANGES:
        (tmp_path / "snap/config.json").write_text(json.dumps({**config, **changed}))
        refused_twice(asked, f"file://{tmp_path}/snap", words, what)
    refused_twice(asked, f"file://{saved}/snap", "the path of a socket has 1 to 107 bytes", "vsock",
                  overrides={"vsock": {"socket": "/tmp/" + "x" * 105}})
    (tmp_path / "snap/config.json").write_text(json.dumps({**config, "memory": {"size": 64 * MIB, "shared": True}}))
    refused_twice(asked, f"file://{tmp_path}/snap", "memory_restore_mode=map", "shared", memory_restore_mode="Map")


@pytest.mark.parametrize("mode", ["Map", "Copy", "OnDemand"])
def test_a_zone_comes_from_the_node_that_is_said(asked, saved, tmp_path, mode):
    """One that was bound is bound again, and one that was not can be."""
    shutil.copytree(saved / "snap", tmp_path / "snap")
    config = json.loads((saved / "snap/config.json").read_text())
    for node, more in ((0, {}), (None, {"zone_updates": [{"id": "z", "host_numa_node": 0}]})):
        zone = {"id": "z", "size": 64 * MIB} | ({} if node is None else {"host_numa_node": node})
        (tmp_path / "snap/config.json").write_text(json.dumps({**config, "memory": {"size": 0, "zones": [zone]}}))
        asked.put("vm.restore", {"source_url": f"file://{tmp_path}/snap", "memory_restore_mode": mode, **more})
        pid = asked.get("vmm.ping")["pid"]
        with open(f"/proc/{pid}/numa_maps", encoding="ascii") as f:
            assert any("bind:0" in line for line in f)
        assert asked.get("vm.info")["config"]["memory"]["zones"][0]["host_numa_node"] == 0
        asked.put("vm.delete")
    for update, words in (({"id": "y", "host_numa_node": 0}, "no memory zone y"), ({"id": "z", "host_numa_node": 99}, "host_numa_node=99")):
        refused_twice(asked, f"file://{tmp_path}/snap", words, memory_restore_mode=mode, zone_updates=[update])


def test_a_tap_that_cannot_be_had_is_told_and_is_not_touched(virga, ns, saved, tmp_path, work):
    """One that is there is not opened to find that out: its other end hears nothing."""
    vm = virga("--api-socket", f"path={work}/api", overhead=False, program=ns.wrap(binary(), tmp_path))
    ns.make_tap("idle")
    ns.make_tap("busy")
    ns.make_tap("low")
    ns.ip("link", "set", "low", "down")

    def attach(name):
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x5002))  # TUNSETIFF, a tap with headers
        return fd

    held = [ns.run_in(lambda name=name: attach(name)) for name in ("busy", "low")]
    with Api(f"{work}/api") as api:
        for tap, words in (("busy", "tap busy is in use"), ("low", "tap low is in use"), ("lo", "is no macvtap and no tap")):
            refused_twice(api, f"file://{saved}/snap", words, tap, overrides={"net": [{"id": "n", "tap": tap}]})
        for fd in held:
            os.close(fd)
        with subprocess.Popen(["ip", "-n", ns.name, "monitor", "link"], stdout=subprocess.PIPE, text=True) as heard:
            ns.ip("link", "set", "lo", "mtu", "1400")
            for tap in ("idle", "busy", "new"):
                api.put("vm.restore", {"source_url": f"file://{saved}/snap", "check": True, "overrides": {"net": [{"id": "n", "tap": tap}]}})
            ns.ip("link", "set", "lo", "mtu", "1300")
            lines = []
            while not lines or "mtu 1300" not in lines[-1]:
                lines.append(heard.stdout.readline())
            heard.terminate()
        print(lines)
        assert not any(name in line for line in lines for name in ("idle", "new"))
        assert not ns.has("new")
        api.put("vmm.shutdown")
    assert vm.wait() == 0
