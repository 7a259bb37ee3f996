# SPDX-License-Identifier: Apache-2.0
"""gdb's remote protocol spoken by hand, for what gdb itself would never say.

	g = GdbRemote(socket)
	assert g.ask("?").startswith("T05")
	g.send("vCont;c"); g.interrupt(); g.reply()
"""
import re
import socket
import time

from lib.virga import PATIENCE

SECONDS = 20 * PATIENCE


class GdbRemote:
    def __init__(self, path, acks=True):
        end = time.monotonic() + SECONDS
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(SECONDS)
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                self.sock.close()
                assert time.monotonic() < end, f"nobody listens at {path}"
                time.sleep(0.05)
        self.rest = b""
        self.acks = acks

    def send(self, text):
        body = text.encode("latin-1") if isinstance(text, str) else text
        self.sock.sendall(b"$" + body + b"#%02x" % (sum(body) & 0xff))

    def interrupt(self):
        self.sock.sendall(b"\x03")

    def reply(self):
        """The next packet, without its frame."""
        while True:
            found = re.search(rb"\$([^#]*)#(..)", self.rest, re.S)
            if found:
                self.rest = self.rest[found.end():]
                assert sum(found[1]) & 0xff == int(found[2], 16), found[0]
                if self.acks:
                    self.acknowledge()
                return re.sub(rb"}(.)", lambda m: bytes([m[1][0] ^ 0x20]), found[1], flags=re.S).decode("latin-1")
            part = self.sock.recv(65536)
            assert part, "the stub has hung up"
            self.rest += part

    def acknowledge(self):
        try:
            self.sock.sendall(b"+")
        except BrokenPipeError:  # that was its last word
            pass

    def ask(self, text):
        self.send(text)
        return self.reply()

    def is_over(self):
        """Has the stub hung up?"""
        try:
            while self.sock.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def registers(self):
        """{name: number} as the description names them."""
        text, off = "", 0
        while True:
            part = self.ask(f"qXfer:features:read:target.xml:{off:x},1000")
            text += part[1:]
            off += len(part) - 1
            if part[0] == "l":
                return {name: n for n, name in enumerate(re.findall(r'<reg name="(\w+)"', text))}

    def register(self, name):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{self.registers()[name]:x}")), "little")

    def memory(self, address, size):
        return bytes.fromhex(self.ask(f"m{address:x},{size:x}"))

    def close(self):
        self.sock.close()
