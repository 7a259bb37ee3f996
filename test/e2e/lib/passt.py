# SPDX-License-Identifier: Apache-2.0
"""passt as an ordinary user in a network namespace of the test's own, and virga as the same user with nothing but /dev/kvm."""
import os
import shutil
import socket
import subprocess
import threading
import time

from .netns import NetNs, why_no_netns

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
             "--inh-caps=-all"]
# The namespace's address, which passt gives to the guest, and its gateway, by which the guest reaches the host.
ADDRESS, GATEWAY = "10.55.0.2", "10.55.0.1"
# Devices that only root may have, so that nobody can have used them.
HIDDEN = ("/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock")


def why_no_passt():
    """The sentence that says why there is no passt here, or None."""
    return why_no_netns() or (None if shutil.which("passt") else "passt is not installed")


def number(address):
    return "0x" + "".join(f"{int(part):02x}" for part in address.split("."))


class Passt:
    """One passt and the namespace around it. `socket` is where it listens."""

    def __init__(self, work, *args):
        os.chmod(work, 0o777)
        self.work, self.args = work, [str(a) for a in args]
        self.socket = f"{work}/passt.sock"
        self.ns = NetNs()
        self.sockets = []
        self.stopping = threading.Event()
        self.threads = []
        self.process = None
        try:
            self.ns.ip("link", "add", "out", "type", "veth", "peer", "name", "far")
            self.ns.ip("address", "add", f"{ADDRESS}/24", "dev", "out")
            for name in ("lo", "out", "far"):
                self.ns.ip("link", "set", name, "up")
            self.ns.ip("route", "add", "default", "via", GATEWAY)
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        self.log = open(f"{self.work}/passt.log", "wb")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.ns.name, *AS_NOBODY, "passt", "--foreground", "--socket", self.socket,
             *self.args], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while f"bound at {self.socket}" not in self.said():
            assert self.process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.02)

    def said(self):
        with open(f"{self.work}/passt.log", encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.log.close()

    def open_socket(self):
        s = self.ns.run_in(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        s.settimeout(0.2)
        self.sockets.append(s)
        return s

    def echo(self, port):
        """Answer datagrams to the namespace's own port, in the background."""
        s = self.open_socket()
        s.bind(("127.0.0.1", port))

        def loop():
            while not self.stopping.is_set():
                try:
                    data, sender = s.recvfrom(70000)
                    s.sendto(data, sender)
                except (TimeoutError, OSError):
                    continue

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self.threads.append(thread)

    def close(self):
        self.stopping.set()
        self.stop()
        for thread in self.threads:
            thread.join(5)
        for s in self.sockets:
            s.close()
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.ns.close()


def ordinary_user_script(program, directory):
    """The script that becomes `program` as an ordinary user to whom nothing but /dev/kvm has been given."""
    hide = "\n".join(f"[ ! -e {d} ] || mount --bind /dev/null {d}" for d in HIDDEN)
    return f"""#!/bin/sh
set -e
if [ "$1" != inside ]; then exec unshare --mount -- "$0" inside "$@"; fi
shift
mkdir -p {directory}/node && mount -t tmpfs -o dev none {directory}/node
mknod {directory}/node/kvm c 10 232 && chmod 666 {directory}/node/kvm
mount --bind {directory}/node/kvm /dev/kvm
umount -l {directory}/node && rmdir {directory}/node
{hide}
exec {' '.join(AS_NOBODY)} --bounding-set=-all {program} "$@"
"""


def ordinary_user(program, directory):
    """That script as a program. It has a copy of `program`, because the path to the original may be root's."""
    copy, path = f"{directory}/{os.path.basename(program)}", f"{directory}/as-nobody"
    os.chmod(directory, 0o777)
    shutil.copy(program, copy)
    os.chmod(copy, 0o755)
    with open(path, "w", encoding="ascii") as f:
        f.write(ordinary_user_script(copy, directory))
    os.chmod(path, 0o755)
    return path
