# SPDX-License-Identifier: Apache-2.0
"""What is another's in a clone: descriptors, taps, disks, sockets, consoles that are said at restore."""
import socket

from lib.api import Api, small_config
from lib.process import descriptors_of
from lib.virga import binary
from lib.wait import until

CARD = {"id": "n", "mac": "02:00:ca:fe:00:07"}


def frame_from(sock):
    """One frame off a stream socket, as passt would have it."""
    sock.settimeout(20)
    size = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")
    return sock.recv(size, socket.MSG_WAITALL)


def boot(virga, work, words, name="api", **more):
    vm = virga("--api-socket", f"path={work}/{name}", overhead=False)
    api = Api(f"{work}/{name}")
    api.put("vm.create", small_config(words, serial={"mode": "Tty"}, **more))
    return vm, api


def save(vm, api, path):
    """A snapshot of a guest that waits for a key; the program goes."""
    vm.wait_for("R3 PAUSED")
    path.mkdir()
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{path}"})
    api.put("vmm.shutdown")
    assert vm.wait() == 0
    api.close()
    return f"file://{path}"


def test_descriptors_of_cards_come_with_a_restore_and_go_with_its_vm(virga, work, tmp_path):
    vm, api = boot(virga, work, "pause net park")
    ours, theirs = socket.socketpair()
    assert api.ask("PUT", "vm.add-net", CARD, fds=[theirs.fileno()]).code == 204
    api.put("vm.boot")
    url = save(vm, api, tmp_path / "snap")

    # a guest that comes to its end before it is deleted does not take the program along
    vm = virga("--api-socket", f"path={work}/api", "--no-shutdown", overhead=False)
    with Api(f"{work}/api") as api:
        def held():
            api.get("vmm.ping")  # what came before has been cleared away
            return descriptors_of(vm.pid)

        before = held()
        ours, theirs = socket.socketpair()
        for body, fds, words in (({}, [], "net_fds"), ({}, [theirs.fileno()], "speaks of 0"),
                                 ({"net_fds": [{"id": "n", "num_fds": 2}]}, [theirs.fileno()], "1 are left"),
                                 ({"net_fds": [{"id": "n", "num_fds": 1}]}, [theirs.fileno()] * 2, "speaks of 1"),
                                 ({"net_fds": [{"id": "n", "num_fds": 2}]}, [theirs.fileno()] * 2, "pair"),
                                 ({"net_fds": [{"id": "m", "num_fds": 1}]}, [theirs.fileno()], "no network card m")):
            answer = api.ask("PUT", "vm.restore", {"source_url": url, **body}, fds=fds)
            assert answer.code == 400 and words in answer.error, answer
            assert held() == before
        for _ in range(3):
            body = {"source_url": url, "resume": True, "net_fds": [{"id": "n", "num_fds": 1, "fds": [-1]}]}
            assert api.ask("PUT", "vm.restore", body, fds=[theirs.fileno()]).code == 204
            vm.type("x")
            assert b"R3 FRAME" in frame_from(ours)
            api.put("vm.delete")
            assert held() == before
        theirs.close()
        ours.settimeout(20)
        assert ours.recv(1) == b""
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def there(vm):
    return set(descriptors_of(vm.pid).values())


def test_a_clone_beside_its_original_has_places_of_its_own(virga, work, tmp_path):
    """Disks, persistent memory, shared memory, sockets, consoles; said over the API and on the command line."""
    names = ["disk", "image", "pmem", "shared", "said", "console", "debug"]
    for one in ("old", "new", "third"):
        (tmp_path / one).mkdir()
        for name, size in (("disk", 1 << 20), ("image", 2 << 20), ("pmem", 2 << 20), ("shared", 1 << 20)):
            with open(tmp_path / one / name, "wb") as f:
                f.truncate(size)
    old, new, third = (str(tmp_path / one) for one in ("old", "new", "third"))
    vm, api = boot(virga, work, "park", name="old",
                   disks=[{"path": f"{old}/disk"}, {"path": f"{old}/image", "id": "data"}],
                   pmem=[{"file": f"{old}/pmem", "id": "p"}], ivshmem={"path": f"{old}/shared", "size": 1 << 20},
                   vsock={"cid": 3, "socket": f"{work}/old.vsock"}, console={"mode": "File", "file": f"{old}/console"},
                   debug_console={"mode": "File", "file": f"{old}/debug"})
    path = tmp_path / "snap"
    path.mkdir()
    api.put("vm.boot")
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{path}"})
    assert any(name.startswith(old) for name in there(vm))

    clone = virga("--api-socket", f"path={work}/new", overhead=False)
    with Api(f"{work}/new") as other:
        refused = other.ask("PUT", "vm.restore", {"source_url": f"file://{path}"})
        assert refused.code == 409 or "lock" in refused.error, refused
        answer = other.ask("PUT", "vm.restore", {"source_url": f"file://{path}", "overrides": {"disks": [{"id": "none"}]}})
        assert answer.code == 404 and "none of the name none" in answer.error
        other.put("vm.restore", {"source_url": f"file://{path}", "resume": True, "overrides": {
            "disks": [{"id": "data", "path": f"{new}/image"}, {"id": "_disk0", "path": f"{new}/disk"}],
            "pmem": [{"id": "p", "file": f"{new}/pmem"}], "ivshmem": {"path": f"{new}/shared"},
            "vsock": {"cid": 7, "socket": f"{work}/new.vsock"}, "serial": {"file": f"{new}/said"},
            "console": {"file": f"{new}/console"}, "debug_console": {"file": f"{new}/debug"}}})
        assert {f"{new}/{name}" for name in names} - there(clone) <= {f"{new}/shared"}
        assert not any(name.startswith(old) for name in there(clone))
        config = other.get("vm.info")["config"]
        assert config["vsock"] == {**config["vsock"], "cid": 7, "socket": f"{work}/new.vsock"}
        assert config["serial"]["mode"] == "File" and config["ivshmem"]["path"] == f"{new}/shared"
        other.put("vm.reboot")
        assert not any(name.startswith(old) for name in there(clone))

        more = virga("--api-socket", f"path={work}/third", "--restore",
                     f"source_url=file://{path},resume=on,disks=[id=data,path={third}/image:id=_disk0,path={third}/disk],"
                     f"pmem=[id=p,file={third}/pmem],ivshmem_path={third}/shared,vsock_cid=8,"
                     f"vsock_socket={work}/third.vsock,serial_mode=null,console_mode=pty,debug_console_mode=null",
                     overhead=False)
        with Api(f"{work}/third") as last:
            while last.state() != "Running":
                more.look(0.01)
                assert more.status is None, more.tail()
            assert not any(name.startswith((old, new)) for name in there(more))
            last.put("vmm.shutdown")
        other.put("vmm.shutdown")
    api.put("vmm.shutdown")
    for one in (vm, clone, more):
        assert one.wait() == 0, one.tail()
    api.close()


def test_a_card_comes_back_on_another_socket_with_another_address(virga, work, tmp_path):
    listener = {}
    for name in ("old", "new"):
        listener[name] = socket.socket(socket.AF_UNIX)
        listener[name].bind(str(tmp_path / name))
        listener[name].listen(1)
    vm, api = boot(virga, work, "pause net", net=[{"id": "n", "stream": str(tmp_path / "old")}])
    api.put("vm.boot")
    url = save(vm, api, tmp_path / "snap")
    listener["old"].close()
    vm = virga("--restore", f"source_url={url},resume=on,net=[id=n,stream={tmp_path}/new,mac=\"02:00:ca:fe:00:99\"]",
               overhead=False)
    peer, _ = listener["new"].accept()
    vm.type("x")
    assert b"R3 FRAME" in frame_from(peer)
    vm.wait_for("mac=0200cafe0099")
    assert vm.wait() == 0
    peer.close()
    listener["new"].close()


def test_a_card_comes_back_on_another_tap(virga, work, tmp_path, ns):
    ns.make_tap("tap0")
    ns.make_tap("tap1")
    program = ns.wrap(binary(), work)
    vm = virga("--api-socket", f"path={work}/api", program=program, overhead=False)
    api = Api(f"{work}/api")
    api.put("vm.create", small_config("pause net feed", serial={"mode": "Tty"}, net=[{"id": "n", "tap": "tap0"}]))
    api.put("vm.boot")
    url = save(vm, api, tmp_path / "snap")
    ns.ip("link", "del", "tap0")
    ns.answer("tap1", b"and a payload")
    vm = virga("--restore", f"source_url={url},resume=on,net=[id=n,tap=tap1]", program=program, overhead=False)
    vm.type("x")
    vm.wait_for("R3 NETGOT")
    assert vm.wait() == 0


def test_a_hosts_end_that_is_made_anew_has_the_address_that_the_guest_knows(virga, work, tmp_path, ns):
    program = ns.wrap(binary(), work)
    vm = virga("--api-socket", f"path={work}/api", program=program, overhead=False)
    api = Api(f"{work}/api")
    api.put("vm.create", small_config("pause", serial={"mode": "Tty"},
                                      net=[{"id": "n", "tap": "made0", "ip": "10.77.0.1", "mask": "255.255.255.0"}]))
    api.put("vm.boot")
    known = address(ns, "made0")
    url = save(vm, api, tmp_path / "snap")
    assert not ns.has("made0")
    for more, tap in (("", "made0"), (",net=[id=n,tap=other0,ip=10.78.0.1]", "other0")):
        vm = virga("--restore", f"source_url={url},resume=on{more}", program=program, overhead=False)
        until(lambda tap=tap: ns.has(tap) and address(ns, tap) == known)
        vm.type("x")
        assert vm.wait() == 0


def address(ns, interface):
    return ns.ip("link", "show", interface).split("link/ether ")[1].split()[0]
