# SPDX-License-Identifier: Apache-2.0
"""Clients of the REST API that are wrong, slow, silent, dead or many: each gets an answer with a reason, nothing changes by
it, nobody else is held up by it, and nothing stays behind."""
import json
import os
import select
import socket
import subprocess
import sys
import time

import pytest

from lib.api import BASE, Api, served, small_config  # noqa: F401 (fixture)
from lib.process import descriptors_of
from lib.virga import PATIENCE, TOP, Virga, binary
from lib.wait import until

# what the program prints: test/unit/conf/doc.c sees to that
DOCUMENT = json.loads((TOP / "docs/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
PING = f"GET {BASE}vmm.ping HTTP/1.1\r\nHost: x\r\n\r\n".encode()
CLIENTS_MAX = 128


def settled(pid, count):
    """Wait until the program is back at so many descriptors."""
    until(lambda: len(descriptors_of(pid)) == count, 5, lambda: f"not {count}: {descriptors_of(pid)}")


# --- what is said ---

def operations():
    for path, ops in sorted(DOCUMENT["paths"].items()):
        for method, op in sorted(ops.items()):
            yield method.upper(), path[1:].replace("{id}", "7"), op


def schema_of(op):
    body = op.get("requestBody")
    return SCHEMAS[body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]] if body else None


FOUL = [b"{", b"}", b"nothing", b"[]", b"null", b"1", b'"x"', b"{}x", b"{}{}", b"{\0}", b'{"a"}', b"\xff\xfe", b"\xc3\x28",
        b'{"a":"\xff"}', b'{"\xf0\x28":1}', b'{"a":"\\ud800"}', b"[" * 5000, b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a":1e999}', b'{"a":' + b"9" * 400 + b"}", b'{"nobody_knows_this":1}', b" " * 100000]


def spoilt_members(schema):
    """Each member said twice, of another type, and out of its range."""
    for key, row in schema["properties"].items():
        name = json.dumps(key)
        yield f"{{{name}: 1, {name}: 1}}"
        yield f'{{{name}: {{"nobody": [{{}}]}}}}'
        if "maximum" in row:
            yield f"{{{name}: {row['maximum'] + 1}}}"
        if row.get("type") == "integer":
            yield f"{{{name}: {row.get('minimum', 0) - 1}}}"
            yield f"{{{name}: 1.5}}"
            yield f'{{{name}: "1 "}}'
        if "enum" in row:
            yield f'{{{name}: "no such word"}}'


def bad_bodies(op):
    schema = schema_of(op)
    yield from FOUL
    if schema:
        yield b""
        yield from (text.encode() for text in spoilt_members(schema))
    else:
        yield b"{}"


def picture(api, pid):
    return api.state(), api.ask("GET", "vm.info").body if api.state() != "Running" else None, len(descriptors_of(pid))


STATES = [None, "Created", "Running", "Paused", "Shutdown"]


@pytest.mark.parametrize("state", STATES, ids=[s or "none" for s in STATES])
def test_no_bad_body_changes_anything(served, state):
    vm, api = served
    api.bring(state, small_config())
    before = picture(api, vm.pid)
    fd = os.open("/dev/null", os.O_RDWR)
    sent = 0
    for method, path, op in operations():
        for body in bad_bodies(op):
            answer = api.ask(method, path, body, fds=[fd] * (sent % 3))
            assert answer.code == 400, f"{method} {path} {body[:60]!r}: {answer}"
            assert all(isinstance(text, str) and text for text in answer.json) and answer.json
            sent += 1
        code = api.ask(method, path, b"x" * (4 << 20 | 1) if sent % 5 == 0 else b"{" + b" " * (4 << 20)).code
        assert code == 413, f"{method} {path}: {code}"
        api.connect()
    assert picture(api, vm.pid) == before
    os.close(fd)


def test_paths_and_methods_that_are_not_there_are_refused(served):
    _, api = served
    for path in ("", "x", "vmm.ping/", "vmm.ping%20", "../vmm.ping", "VM.INFO", "jobs/", "jobs/x", "jobs/-1", "jobs/1/cance"):
        assert api.ask("GET", path).code == 404, path
    for method in ("POST", "DELETE", "PATCH", "OPTIONS", "PUT", "get"):
        assert api.ask(method, "vmm.ping").code == 400
    api.send("HEAD", "vmm.ping")
    assert api.head()[0] == 400
    api.connect()
    api.send_raw(b"GET /api/v2/vmm.ping HTTP/1.1\r\nHost:\r\n\r\n")
    assert api.answer().code == 404
    api.send_raw(b"GET http://localhost/api/v1/vmm.ping?x=1 HTTP/1.1\r\nHost:\r\n\r\n")
    assert api.answer().code == 200
    assert api.ask("GET", "%76mm%2eping").code == 200
    assert api.ask("GET", "vm%2fm.ping").code == 404


def test_requests_that_are_no_http_get_a_sentence_and_the_end(served):
    vm, api = served
    count = len(descriptors_of(vm.pid))
    for said, code in [
        (b"\x16\x03\x01\x02\0\r\n", 400), (b"GET /\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET /%zz HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\n\n", 400), (b"GET / HTTP/2.0\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost:\r\n\r\n", 414), (b"GET / HTTP/1.1\r\nHost:\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost:\r\n" + b"x: y\r\n" * 100 + b"\r\n", 431), (b"GET / HTTP/1.1\r\nHost:\r\n x\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost:\r\nContent-Length: -1\r\n\r\n", 400), (b"PUT / HTTP/1.1\r\nHost:\r\nExpect: x\r\n\r\n", 417),
        (b"PUT / HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\n\r\n", 411), (b"PUT / HTTP/1.1\r\nHost:\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ]:
        with Api(api.path) as one:
            one.send_raw(said)
            got, headers = one.head()
            assert got == code, said
            assert headers["connection"] == "close"
            assert len(json.loads(one.read_bytes(int(headers["content-length"])))) == 1
            assert one.sock.recv(1) == b""
    settled(vm.pid, count)


# --- how it is said ---

def test_requests_are_read_however_they_are_cut(served):
    _, api = served
    body = json.dumps(small_config()).encode()
    whole = (f"PUT {BASE}vm.create HTTP/1.1\r\nHost:\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
    for step in (1, 7, 100):
        for at in range(0, len(whole), step):
            api.send_raw(whole[at:at + step])
        assert api.answer().code == 204
        api.put("vm.delete")
    chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(body[i:i + 5]), body[i:i + 5]) for i in range(0, len(body), 5))
    api.send_raw(f"PUT {BASE}vm.create HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\nA: b\r\n\r\n")
    assert api.answer().code == 204
    assert api.state() == "Created"


def test_pipelined_requests_are_answered_in_their_order(served):
    _, api = served
    config = json.dumps(small_config()).encode()
    say = [("PUT", "vm.create", config, 204), ("GET", "vm.info", None, 200), ("PUT", "vm.boot", None, 204),
           ("GET", "vmm.ping", None, 200), ("PUT", "vm.boot", None, 405), ("PUT", "vm.create", b"{", 400),
           ("PUT", "vm.shutdown", None, 204), ("PUT", "vm.delete", b"", 204), ("GET", "vm.info", None, 404)]
    for method, path, body, _ in say:
        api.send(method, path, body)
    assert [api.answer().code for _ in say] == [code for _, _, _, code in say]


def test_a_client_may_say_all_and_end_its_sending(served):
    _, api = served
    with Api(api.path) as one:
        one.send("PUT", "vm.create", small_config())
        one.send("PUT", "vm.boot")
        one.send("PUT", "vm.delete")
        one.sock.shutdown(socket.SHUT_WR)
        assert [one.answer().code for _ in range(3)] == [204, 204, 204]
        assert one.sock.recv(1) == b""


def test_http_1_0_and_close_end_the_connection(served):
    _, api = served
    for said in (f"GET {BASE}vmm.ping HTTP/1.0\r\n\r\n", f"GET {BASE}vmm.ping HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"):
        with Api(api.path) as one:
            one.send_raw(said.encode())
            code, headers = one.head()
            assert code == 200
            one.read_bytes(int(headers["content-length"]))
            assert one.sock.recv(1) == b""


def curl(api, *args, data=None):
    done = subprocess.run(["curl", "-sS", "--max-time", "20", "--unix-socket", api.path, *args], input=data,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_is_served(served):
    _, api = served
    url = f"http://localhost{BASE}"
    code = ("-o", "/dev/null", "-w", "%{http_code} ")
    assert json.loads(curl(api, url + "vmm.ping"))["pid"]
    # one connection for all of them
    told = curl(api, "-v", *code, url + "vmm.ping", url + "vm.info", "--stderr", "-", *code[:2])
    assert told.count(b"Re-using existing connection") == 1 and b"404" in told
    # as libvirt does it
    config = json.dumps(small_config()).encode()
    assert curl(api, *code, "-X", "PUT", "-H", "Accept: application/json", "-H", "Content-Type: application/json",
                "--data-binary", "@-", url + "vm.create", data=config) == b"204 "
    assert curl(api, *code, "-X", "PUT", "-H", "Content-Length: 0", url + "vm.boot") == b"204 "
    assert json.loads(curl(api, url + "vm.info"))["state"] == "Running"
    assert curl(api, *code, "--http1.0", "-X", "PUT", url + "vm.delete") == b"204 "
    # of unknown length, in chunks; and one so long that curl asks first
    assert curl(api, *code, "-T", "-", url + "vm.create", data=config) == b"204 "
    long = config[:-1] + b" " * (2 << 20) + config[-1:]
    assert curl(api, "-v", "--stderr", "-", *code, "-X", "PUT", "--data-binary", "@-", url + "vm.create",
                data=long).endswith(b"405 ")
    assert curl(api, *code, "-H", "Expect: 100-continue", "-T", "-", url + "vm.delete", data=b"{}") == b"400 "
    assert curl(api, *code, "-X", "PUT", "--data-binary", "@-", url + "vm.create", data=b"x" * (5 << 20)) == b"413 "
    assert curl(api, *code, "-X", "POST", url + "vm.boot") == b"400 "


# --- descriptors ---

def test_descriptors_are_refused_by_number_and_never_kept(served):
    vm, api = served
    count = len(descriptors_of(vm.pid))
    fd = os.open("/dev/null", os.O_RDWR)
    for n in (1, 2, 253):
        answer = api.ask("PUT", "vm.create", small_config(), fds=[fd] * n)
        assert answer.code == 400 and f"{n} descriptors came" in answer.error
    # more than one message can carry: with several of one request
    api.send_raw(f"PUT {BASE}vm.add-net HTTP/1.1\r\nHost:\r\n".encode(), [fd] * 253)
    api.send_raw(b"Content-Length: 0\r\n\r\n", [fd] * 2)
    answer = api.answer()
    assert answer.code == 400 and "more than 253" in answer.error
    # with a request that is never whole
    for _ in range(50):
        with Api(api.path) as one:
            one.send_raw(b"PUT /x HTTP/1.1\r\nHost:\r\nContent-", [fd] * 253)
    settled(vm.pid, count)
    os.close(fd)


# --- many, slow, silent, dead ---

def rss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Private_Dirty:"))


def test_a_hundred_thousand_requests_leave_memory_and_descriptors_flat(served):
    vm, api = served
    api.put("vm.create", small_config())
    fd = os.open("/dev/null", os.O_RDWR)
    config = json.dumps(small_config()).encode()
    kinds = [("GET", "vmm.ping", None, ()), ("GET", "vm.info", None, ()), ("PUT", "vm.create", config, ()),
             ("PUT", "vm.create", b"{", (fd,)), ("GET", "nothing", None, ()), ("PUT", "vm.boot", b"{}", (fd, fd)),
             ("GET", "jobs", None, ()), ("PUT", "vm.remove-device", b'{"id": "x"}', ()), ("PUT", "vm.pause", None, ()),
             ("PUT", "vm.create", b'{"cpus": {"boot_vcpus": "many"}}', ())]

    def storm(rounds):
        for i in range(rounds):
            for kind in kinds * 10:
                api.send(*kind[:3], fds=kind[3])
            for _ in range(10 * len(kinds)):
                assert api.answer().code in (200, 400, 404, 405, 501)
            if i % 10 == 0:
                api.connect()

    storm(50)
    count, before = len(descriptors_of(vm.pid)), rss_kib(vm.pid)
    storm(1000)
    settled(vm.pid, count)
    # the least that one of ten could lose each time makes 312 KiB; the heap itself scatters
    assert rss_kib(vm.pid) <= before + 160, f"{before} KiB before, {rss_kib(vm.pid)} after"
    os.close(fd)


def ping_ms(api, times):
    """The longest of so many pings, and the usual one."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        api.get("vmm.ping")
        took.append((time.perf_counter() - start) * 1000)
    return max(took), sorted(took)[times // 2]


def test_nobody_is_held_up_by_the_slow_the_silent_and_the_dead(served):
    vm, api = served
    api.put("vm.create", small_config(words="x" * 2000))
    count = len(descriptors_of(vm.pid))
    crowd = []

    def come(said, how=None):
        one = socket.socket(socket.AF_UNIX)
        one.connect(api.path)
        one.sendall(said)
        if how is not None:
            one.shutdown(how)
        crowd.append(one)

    for i in range(20):
        come(b"")                                                           # silent
        come(PING[:i])                                                      # slow
        come(PING, socket.SHUT_WR)                                          # does not read its answer
        come(f"GET {BASE}vm.info HTTP/1.1\r\nHost:\r\n\r\n".encode() * 500)          # nor many
        come(b"PUT /x HTTP/1.1\r\nHost:\r\nContent-Length: 4000000\r\n\r\n" + b"y" * 20000)
        come(PING[:-i], socket.SHUT_RDWR if i % 2 else socket.SHUT_RD)      # half or wholly dead
    worst, usual = ping_ms(api, 500)
    assert usual < 5 * PATIENCE and worst < 200 * PATIENCE, (usual, worst)
    # newcomers take the places of those who keep us waiting
    for _ in range(30):
        with Api(api.path) as one:
            assert one.get("vmm.ping")["pid"] == vm.pid
    for one in crowd:
        one.close()
    settled(vm.pid, count)
    assert api.state() == "Created"


def test_nobody_waits_for_clients_that_do_not_read_events(served):
    vm, api = served
    api.put("vm.create", small_config())
    api.put("vm.boot")
    count = len(descriptors_of(vm.pid))
    crowd = []
    for _ in range(32):
        one = Api(api.path)
        one.send("GET", "events")
        assert one.head()[0] == 200
        crowd.append(one)
    answer = api.ask("GET", "events")
    assert answer.code == 429 and "32 clients" in answer.error
    # one of them reads, and one after all others have long lost what they did not take
    rounds = 800
    crowd[0].sock.setblocking(False)
    read = b""
    start = time.monotonic()
    for i in range(rounds):
        api.put("vm.pause")
        api.put("vm.resume")
        if i % 20 == 0:
            read += crowd[0].sock.recv(1 << 20)
    assert time.monotonic() - start < 30 * PATIENCE
    worst, usual = ping_ms(api, 200)
    assert usual < 5 * PATIENCE and worst < 200 * PATIENCE, (usual, worst)
    crowd[0].sock.settimeout(5)
    while read.count(b'"resumed"') < rounds:
        read += crowd[0].sock.recv(1 << 20)
    assert b"events-lost" not in read
    for one in crowd:
        one.close()
    settled(vm.pid, count)
    assert api.state() == "Running"


def test_crowds_of_clients_are_all_answered(served):
    vm, api = served
    count = len(descriptors_of(vm.pid))
    waiting, answered = {}, 0
    poll = select.poll()
    came, end = 0, time.monotonic() + 30 * PATIENCE
    while answered < 600:
        assert time.monotonic() < end, f"{answered} of 600 answered"
        while came < 600 and len(waiting) < 3 * CLIENTS_MAX:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            try:
                one.connect(api.path)
            except BlockingIOError:         # the queue is full
                one.close()
                break
            one.send(PING)
            poll.register(one, select.POLLIN)
            waiting[one.fileno()] = one
            came += 1
        for fd, _ in poll.poll(10):
            assert waiting[fd].recv(4096).startswith(b"HTTP/1.1 200 ")
            poll.unregister(fd)
            waiting.pop(fd).close()
            answered += 1
    settled(vm.pid, count)


# --- the socket ---

def test_a_socket_that_already_listens_is_served(virga, work):
    path = f"{work}/given"
    vm = virga(str(TOP / "test/e2e/lib/with_listener.py"), path, binary(), "--api-socket", "fd=3", program=sys.executable,
               overhead=False)
    with Api(path) as api:
        assert api.get("vmm.ping")["pid"] == vm.pid
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    os.unlink(path)


@pytest.mark.parametrize("fd,why", [(0, "smaller than 3"), (3, "descriptor 3"), (99, "Bad file descriptor")])
def test_a_descriptor_that_cannot_be_listened_to_is_refused(virga, fd, why):
    vm = virga("--api-socket", f"fd={fd}")
    assert vm.wait() == 1
    vm.look()
    assert "--api-socket" in vm.text, vm.tail()


def test_a_path_has_one_owner_and_is_free_after_his_death(virga, work):
    path = f"{work}/api"
    first = virga("--api-socket", path, overhead=False)
    with Api(path) as api:
        second = virga("--api-socket", f"path={path}")
        assert second.wait() == 1
        second.look()
        assert "in use by another process" in second.text, second.tail()
        assert api.get("vmm.ping")["pid"] == first.pid
    first.kill(9)
    assert first.wait() == -9
    assert os.path.exists(path)
    third = virga("--api-socket", f"path={path}", overhead=False)
    with Api(path) as api:
        assert api.get("vmm.ping")["pid"] == third.pid
    assert third.stop() == 0
    assert not os.path.exists(path) and not os.path.exists(path + ".lock")


def test_nothing_is_left_of_a_confined_program(virga, work):
    """It is confined by vm.create, and yet removes what it has made."""
    vm = virga("--api-socket", f"path={work}/api", "--gdb", f"path={work}/gdb", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config(landlock_enable=True))
        api.put("vm.boot")
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    assert os.listdir(work) == []
