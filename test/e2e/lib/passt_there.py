# SPDX-License-Identifier: Apache-2.0
"""Plays the network behind a passt, in the place of the VM: passt_there.py DIRECTORY.

passt runs as an ordinary user in a namespace of its own. At port 7002 of its gateway a web server gives BYTES, answers
what is posted with the SHA-256 of it, and has /done once it has been told. On a line of standard input it fetches /x
from the guest's port 7001, which is forwarded, and says what that was. It ends with its standard input.
"""
import hashlib
import http.client
import http.server
import os
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.passt import Passt  # noqa: E402

BYTES, FORWARDED = 4 << 20, 7101
GIVEN = os.urandom(BYTES)


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    done = False

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/done":
            self.answer(200 if Handler.done else 404)
        else:
            self.answer(200, GIVEN)

    def do_POST(self):
        self.answer(200, sum_of(self.rfile.read(int(self.headers["Content-Length"]))).encode() + b"\n")

    def log_message(self, *_):
        pass


def stream_socket(passt):
    return passt.ns.run_in(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))


def start_server(passt):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 7002), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = stream_socket(passt)
    server.socket.bind(server.server_address)
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def fetch(passt):
    client = http.client.HTTPConnection("127.0.0.1", FORWARDED)
    client.sock = stream_socket(passt)
    client.sock.connect(("127.0.0.1", FORWARDED))
    client.request("GET", "/x")
    print(f"FETCHED {sum_of(client.getresponse().read())}", flush=True)
    client.close()
    Handler.done = True


def main(directory):
    passt = Passt(directory, "--tcp-ports", f"{FORWARDED}:7001")
    server = None
    try:
        server = start_server(passt)
        print(f"LISTENS {passt.socket} {sum_of(GIVEN)}", flush=True)
        for _ in sys.stdin:
            fetch(passt)
    finally:
        if server:
            server.shutdown()
            server.server_close()
        passt.close()


main(sys.argv[1])
