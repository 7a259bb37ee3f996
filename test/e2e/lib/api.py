# SPDX-License-Identifier: Apache-2.0
"""The REST API seen by a client, byte for byte.

	api = Api(socket)                       one connection, which stays
	api.put("vm.create", {...})             asserts that it went well, returns what came back
	api.ask("PUT", "vm.boot").code          whatever came back
	api.state()                             "Running", ...; None without a VM

`Api` waits for the socket. Requests go out as they are said, so that a test can send what no library
would; descriptors ride with the first byte.
"""
import json
import os
import socket
import time

import pytest

from lib.guest import guest_file
from lib.virga import PATIENCE

BASE = "/api/v1/"
SECONDS = 30 * PATIENCE


class Answer:
    """code, headers (names in small letters), body."""

    def __init__(self, code, headers, body):
        self.code, self.headers, self.body = code, headers, body

    def __repr__(self):
        return f"{self.code} {self.body[:500]!r}"

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The sentences of an error, as one."""
        return ": ".join(self.json)


class Api:
    """`seconds` are those that an answer may take: for one that waits itself, more than it may wait."""

    def __init__(self, path, seconds=SECONDS):
        self.path = str(path)
        self.seconds = seconds
        self.rest = b""
        self.sock = None
        self.connect()

    def connect(self):
        """Connect, or anew; a program that starts is waited for."""
        self.close()
        end = time.monotonic() + self.seconds
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.seconds)
            try:
                self.sock.connect(self.path)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                self.sock.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock, self.rest = None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data, fds=()):
        if fds:
            sent = socket.send_fds(self.sock, [data], list(fds))
            data = data[sent:]
        self.sock.sendall(data)

    def send(self, method, path, body=None, headers=(), fds=()):
        """A request as most clients write it; body may be bytes, or what is written as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        lines = [f"{method} {BASE}{path} HTTP/1.1", "Host: localhost", "Accept: */*",
                 *(f"{name}: {value}" for name, value in headers)]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.send_raw("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""), fds)

    def read_more(self):
        part = self.sock.recv(1 << 16)
        if not part:
            raise ConnectionResetError("the server has closed the connection")
        self.rest += part

    def read_until(self, mark):
        while mark not in self.rest:
            self.read_more()
        found, self.rest = self.rest.split(mark, 1)
        return found

    def read_bytes(self, n):
        while len(self.rest) < n:
            self.read_more()
        found, self.rest = self.rest[:n], self.rest[n:]
        return found

    def head(self):
        """Code and headers of the next answer."""
        lines = self.read_until(b"\r\n\r\n").decode().split("\r\n")
        pairs = (line.split(":", 1) for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}

    def answer(self):
        code, headers = self.head()
        if code == 100:
            return self.answer()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self.read_bytes(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.connect()
        return Answer(code, headers, body)

    def chunk(self):
        """One chunk of a stream, b"" at its end."""
        data = self.read_bytes(int(self.read_until(b"\r\n"), 16))
        assert self.read_bytes(2) == b"\r\n"
        return data

    def ask(self, method, path, body=None, headers=(), fds=()):
        self.send(method, path, body, headers, fds)
        return self.answer()

    def get(self, path):
        answer = self.ask("GET", path)
        assert answer.code == 200, f"{path}: {answer}"
        return answer.json

    def put(self, path, body=None, headers=(), fds=()):
        answer = self.ask("PUT", path, body, headers, fds)
        assert answer.code in (200, 202, 204), f"{path}: {answer}"
        return answer.json if answer.body else None

    def state(self):
        answer = self.ask("GET", "vm.info")
        return answer.json["state"] if answer.code == 200 else None

    def job(self, number):
        """The job, once it has ended."""
        end = time.monotonic() + SECONDS
        while True:
            job = self.get(f"jobs/{number}")
            if job["state"] not in ("Waiting", "Running"):
                return job
            assert time.monotonic() < end, f"job {number} does not end: {job}"
            time.sleep(0.005)

    def bring(self, state, config):
        """Bring the VM to a state, from whatever it is in; None: no VM."""
        was = self.state()
        if was == state:
            return
        if state == "Paused" and was == "Running":
            self.put("vm.pause")
            return
        if state == "Running" and was == "Paused":
            self.put("vm.resume")
            return
        if was:
            self.put("vm.delete")
        steps = {None: [], "Created": [], "Running": ["boot"], "Shutdown": ["boot", "shutdown"],
                 "Paused": ["boot", "pause"], "BreakPoint": ["boot"]}[state]
        if state:
            self.put("vm.create", config)
        for step in steps:
            self.put(f"vm.{step}")
        assert self.state() == state


def small_config(words="park", **more):
    """A VM of the tiny guest that stays until it is stopped."""
    return {
        "cpus": {"boot_vcpus": 1, "max_vcpus": 1},
        "memory": {"size": 128 << 20},
        "payload": {"kernel": guest_file("guest.elf"), "cmdline": words},
        "serial": {"mode": "Null"},
        "console": {"mode": "Off"},
        **more,
    }


@pytest.fixture
def served(virga, work):
    """A virga with the API and no VM, and a connection to it. Files "said", "disk" and "core" are tidied up."""
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.get("vmm.ping")
        yield vm, api
    for name in ("said", "disk", "core"):
        if os.path.exists(f"{work}/{name}"):
            os.unlink(f"{work}/{name}")
