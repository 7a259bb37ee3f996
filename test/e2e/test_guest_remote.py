# SPDX-License-Identifier: Apache-2.0
"""virga-remote against a running virga: commands, exit codes, what is printed, and what goes with a request."""
import json
import os
import re
import shlex
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from lib.guest import guest_file
from lib.virga import PATIENCE, TOP, remote_binary

SECONDS = 30 * PATIENCE
UNIT = TOP / "dist/systemd/virga@.service"


class Remote:
    """virga-remote at one socket."""

    def __init__(self, path, name=None):
        self.path, self.name = path, name

    def start(self, *words, **more):
        command = [remote_binary(), "--api-socket", self.path, "--wait", "20", *map(str, words)]
        if self.name:
            command[0] = self.name
        return subprocess.Popen(command, executable=remote_binary(), text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def run(self, *words, say="", **more):
        """(status, what it said on standard output, and on standard error)"""
        child = self.start(*words, **more)
        out, errors = child.communicate(say, timeout=SECONDS)
        return child.returncode, out, errors

    def __call__(self, *words, **more):
        status, out, errors = self.run(*words, **more)
        assert status == 0, f"{words}: {status}\n{out}{errors}"
        assert not errors
        return out

    def fails(self, *words, **more):
        status, out, errors = self.run(*words, **more)
        assert (status, out) == (1, ""), f"{words}: {status} {out}"
        return errors

    def state(self):
        return json.loads(self("info"))["state"]


@pytest.fixture
def remote(work):
    return Remote(f"{work}/api")


def machine(*words):
    """The JSON of a small machine whose guest does what the words say."""
    return json.dumps({"payload": {"kernel": guest_file("guest.elf"), "cmdline": " ".join(words)},
                       "memory": {"size": 64 << 20}, "console": {"mode": "Off"}, "serial": {"mode": "Null"}})


def test_a_machine_lives_by_commands(virga, remote, work):
    config = Path(work) / "machine.json"
    config.write_text(machine("park"))
    vm = virga("--api-socket", f"path={remote.path}")
    assert json.loads(remote("ping"))["pid"] > 0
    remote("create", say=machine("park"))
    assert remote.state() == "Created"
    remote("boot")
    assert remote.state() == "Running"
    remote("pause")
    assert remote.state() == "Paused"
    remote("resume")
    remote("reboot")
    assert remote.state() == "Running"
    remote("shutdown")
    assert remote.state() == "Shutdown"
    remote("delete")
    remote("create", config)
    remote("boot")
    remote("delete")
    remote("shutdown-vmm")
    assert vm.wait() == 0


def test_an_answer_is_one_line_of_json(virga, remote):
    virga("--api-socket", f"path={remote.path}")
    for command in ("ping", "jobs"):
        out = remote(command)
        assert out.endswith("}\n") and out.count("\n") == 1
        assert isinstance(json.loads(out), dict)
    remote("shutdown-vmm")


def test_a_refusal_is_a_numbered_list_and_status_1(virga, remote):
    virga("--api-socket", f"path={remote.path}")
    lines = remote.fails("info").splitlines()
    assert lines[0] == "info was refused with 404 Not Found:"
    assert [line.split(":")[0] for line in lines[1:]] == [f"  {i}" for i in range(len(lines) - 1)]
    assert "400 Bad Request" in remote.fails("create", say="no JSON")
    assert "400 Bad Request" in remote.fails("create", say="")
    remote("create", say=machine("park"))
    assert "Running" in remote.fails("pause")
    assert "there is no job 77" in remote.fails("job", "77")
    remote("shutdown-vmm")


def test_long_work_can_be_left_alone(virga, remote):
    virga("--api-socket", f"path={remote.path}")
    remote("create", say=machine("park"))
    job = json.loads(remote("--async", "boot"))
    assert job["verb"] == "boot"
    while json.loads(remote("job", job["id"]))["state"] not in ("Done", "Failed"):
        pass
    assert json.loads(remote("job", job["id"]))["state"] == "Done"
    assert [j["id"] for j in json.loads(remote("jobs"))["jobs"]] == [job["id"]]
    assert "405" in remote.fails("cancel", job["id"])
    remote("shutdown-vmm")


def test_counters_and_metrics_are_printed(virga, remote):
    virga("--api-socket", f"path={remote.path}")
    assert remote("metrics").endswith("# EOF\n")
    remote("create", say=machine("park"))
    remote("boot")
    assert json.loads(remote("counters"))["__rng"]["read_bytes"] == 0
    remote("shutdown-vmm")


def test_events_are_printed_as_they_come_until_the_end(virga, remote):
    vm = virga("--api-socket", f"path={remote.path}")
    events = remote.start("events")
    while "virga_event_subscribers 1\n" not in remote("metrics"):
        pass
    remote("create", say=machine("park"))
    remote("boot")
    seen = []
    while "booted" not in seen:
        line = events.stdout.readline()
        seen += [json.loads(line)["event"]] if line.strip() else []
    remote("shutdown-vmm")
    assert vm.wait() == 0
    rest, errors = events.communicate(timeout=SECONDS)
    assert '"shutdown"' in rest or '"deleted"' in rest
    assert (events.returncode, errors) == (0, "")


def test_it_waits_for_a_server_that_is_being_started(virga, remote):
    early = remote.start("ping")
    virga("--api-socket", f"path={remote.path}")
    out, errors = early.communicate(timeout=SECONDS)
    assert early.returncode == 0, errors
    assert json.loads(out)
    remote("shutdown-vmm")


def test_wrong_usage_has_status_2_and_a_missing_server_1(work):
    nobody = [remote_binary(), "--api-socket", f"{work}/none"]
    for words, status, sentence in (
            ([*nobody, "bot"], 2, "did you mean 'boot'"), (nobody, 2, "say a command"),
            ([*nobody, "boot", "--cpus", "2"], 2, "unknown option"), ([*nobody, "ping"], 1, "No such file or directory"),
            ([remote_binary(), "ping"], 1, "say where"), ([*nobody, "add-disk", "path=/a,readnoly=on"], 1, "readonly"),
            ([*nobody, "create", f"{work}/none.json"], 1, "none.json"), ([*nobody, "--async", "ping"], 1, "at once")):
        done = subprocess.run(words, text=True, capture_output=True, check=False, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("virga-remote: ") and sentence in done.stderr, done.stderr
    help_ = subprocess.run([remote_binary()], text=True, capture_output=True, check=False)
    assert help_.returncode == 2 and "Commands:" in help_.stdout


def test_under_the_other_name_it_is_ch_remote(virga, work):
    remote = Remote(f"{work}/api", name="/usr/bin/ch-remote")
    assert remote("--version") == "ch-remote v53.0.0\n"
    virga("--api-socket", f"path={remote.path}")
    assert remote.run("bot")[2].startswith("ch-remote: ")
    assert json.loads(remote("ping"))
    remote("shutdown-vmm")


class Listener:
    """A server of the test's own: takes one request with its descriptors, and answers 204."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(path)
        self.sock.listen()
        self.text, self.files = b"", []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        client, _ = self.sock.accept()
        with client:
            while b"\r\n\r\n" not in self.text or not self.whole():
                part, fds, _, _ = socket.recv_fds(client, 65536, 16)
                self.text += part
                self.files += [os.fstat(fd).st_ino for fd in fds]
                for fd in fds:
                    os.close(fd)
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def whole(self):
        head, body = self.text.split(b"\r\n\r\n", 1)
        length = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return len(body) == int(length[0])

    def request(self):
        self.thread.join(SECONDS)
        self.sock.close()
        head, body = self.text.split(b"\r\n\r\n", 1)
        return head.split(b"\r\n")[0].decode(), json.loads(body)


def test_descriptors_of_a_configuration_are_passed(remote, work):
    files = [open(f"{work}/{n}", "w", encoding="utf-8") for n in range(4)]
    fds = [f.fileno() for f in files]
    for words, order in (
            (["add-net", f"fd=[{fds[1]},{fds[0]}],num_queues=4,mac=12:34:56:78:9a:bc"], (1, 0)),
            (["add-device", f"fd={fds[2]}"], (2,)),
            (["restore", f"source_url=file:///s,net_fds=[n@[{fds[3]},{fds[0]}]],iommufd_fd={fds[1]}"], (3, 0, 1))):
        listener = Listener(remote.path)
        remote(*words, pass_fds=fds)
        line, body = listener.request()
        assert line == f"PUT /api/v1/vm.{words[0]} HTTP/1.1"
        assert "fd" not in body and "fds" not in body
        assert listener.files == [os.fstat(fds[n]).st_ino for n in order]
        os.unlink(remote.path)
    for f in files:
        f.close()


def unit_command(key, work, options="", pid=0):
    """The command of a key of the unit template as words, for an instance whose files are in `work`."""
    text = UNIT.read_text().replace("\\\n", "")
    line = re.search(rf"^{key}=-?(.*)", text, re.M).group(1).replace("/run/virga/%i", work)
    line = line.replace("/usr/bin/virga-remote", remote_binary()).replace("$VIRGA_OPTIONS", options)
    return shlex.split(line.replace("${MAINPID}", str(pid)))


def test_commands_of_the_unit_start_and_stop_a_machine(virga, work):
    """systemd itself is not there to ask; what it would run is run."""
    options = f"--kernel {guest_file('guest.elf')} --cmdline 'acpi park' --memory size=64M --console off"
    start = unit_command("ExecStart", work, options)
    assert start[0] == "/usr/bin/virga"
    vm = virga(*start[1:])
    remote = Remote(f"{work}/api.sock")
    while remote.state() != "Running":
        pass
    pid = json.loads(remote("ping"))["pid"]
    # The guest is deaf to its button; that it goes is waited for, and what follows is the signal.
    stop = subprocess.Popen(unit_command("ExecStop", work, pid=pid))
    with pytest.raises(subprocess.TimeoutExpired):
        stop.wait(0.5)
    vm.stop()
    assert vm.status == 0
    assert stop.wait(SECONDS) == 0


def test_the_unit_waits_for_no_guest_where_there_is_none(virga, work):
    virga(*unit_command("ExecStart", work)[1:])
    pid = json.loads(Remote(f"{work}/api.sock")("ping"))["pid"]
    stop = subprocess.run(unit_command("ExecStop", work, pid=pid), check=False, timeout=SECONDS, capture_output=True)
    assert stop.returncode == 1 and b"power-button was refused with 404" in stop.stderr
