# SPDX-License-Identifier: Apache-2.0
"""Programs of the host that a guest's vsock leads to, in the place of the VM: vsock_there.py SOCKET MIB.

Takes what the guest sends to port 1024 and says its sum; then, told to by a line of standard input, sends MIB random
MiB to the guest's port 52 and says their sum, and moves MIB MiB to and fro on 200 streams of its port 53 at once, all of which
come back as they went. It ends with its standard input.
"""
import hashlib
import os
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.vsock import Listener, dial  # noqa: E402

PATH, MIB = sys.argv[1], int(sys.argv[2])
STREAMS, BLOCK = 200, 1 << 20
PIECE = 1 << 15
PIECES = -(-MIB * BLOCK // (STREAMS * PIECE))


def say(*words):
    print(*words, flush=True)


def take(peer):
    total, digest = 0, hashlib.sha256()
    with peer:
        while data := peer.recv(BLOCK):
            digest.update(data)
            total += len(data)
    say("TAKEN", total, digest.hexdigest())


def give():
    block, digest = os.urandom(BLOCK), hashlib.sha256()
    peer, _ = dial(PATH, 52)
    for i in range(MIB):
        data = i.to_bytes(8, "little") + block[8:]
        peer.sendall(data)
        digest.update(data)
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(64):
        pass
    peer.close()
    say("GIVEN", MIB * BLOCK, digest.hexdigest())


def to_and_fro(i, good):
    peer, _ = dial(PATH, 53, patience=120 + MIB)
    if not peer:
        return
    sent, back, noise = hashlib.sha256(), hashlib.sha256(), os.urandom(PIECE - 2)

    def send():
        for k in range(PIECES):
            data = bytes([i, k & 0xff]) + noise
            sent.update(data)
            peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    while piece := peer.recv(65536):
        back.update(piece)
    sender.join()
    peer.close()
    if back.digest() == sent.digest():
        good.append(i)


def main():
    listener = Listener(PATH, 1024, take)
    say("LISTENS")
    try:
        for line in sys.stdin:
            if line == "give\n":
                give()
            if line == "streams\n":
                good = []
                threads = [threading.Thread(target=to_and_fro, args=(i, good)) for i in range(STREAMS)]
                for one in threads:
                    one.start()
                for one in threads:
                    one.join(200 + MIB)
                say("STREAMS", len(good), STREAMS * PIECES * PIECE)
    finally:
        listener.close()


main()
