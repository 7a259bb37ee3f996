# SPDX-License-Identifier: Apache-2.0
"""The host's side of a vsock: programs that listen for the guest, and callers of the guest's ports."""
import os
import socket
import threading
import time


def echo(peer):
    """Send back what comes, until it ends."""
    with peer:
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError:
            pass


class Listener:
    """A program that listens at a port of the host: <path>_<port>, and serves each peer in a thread."""

    def __init__(self, path, port, serve=echo, kind=socket.SOCK_STREAM, backlog=128):
        self.path = f"{path}_{port}"
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(self.path)
        self.socket.listen(backlog)
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def dial(path, port, kind=socket.SOCK_STREAM, patience=20):
    """A connection to a port of the guest, and the port that the host was given; (None, None) when refused."""
    end = time.monotonic() + patience
    while True:
        peer = socket.socket(socket.AF_UNIX, kind)
        try:
            peer.connect(path)
            break
        except OSError:
            peer.close()
            assert time.monotonic() < end, f"nobody listens at {path}"
            time.sleep(0.02)
    peer.settimeout(patience)
    peer.sendall(b"CONNECT %d\n" % port)
    answer = b""
    while not answer.endswith(b"\n"):
        byte = peer.recv(1 if kind == socket.SOCK_STREAM else 64)
        if not byte:
            peer.close()
            return None, None
        answer += byte
    word, number = answer.split()
    assert word == b"OK", answer
    return peer, int(number)
