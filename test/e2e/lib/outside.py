# SPDX-License-Identifier: Apache-2.0
"""A machine from outside, in its place: what it is asked over its API, what it counts, and what it takes of its host."""
import json
import re
import time

from lib.virga import PATIENCE


class Outside:
    """`vm` has an API at the socket `path`."""

    def __init__(self, place, vm, path):
        self.place, self.vm, self.path = place, vm, path

    def ask(self, method, what, body=None):
        """What the API answers, as text; an answer of 400 or more fails the test."""
        data = f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'" if body else ""
        return self.place.run(f"curl -sS --fail-with-body --unix-socket {self.path} -X {method} {data} "
                              f"http://x/api/v1/{what}", 120).output

    def put(self, what, body=None):
        text = self.ask("PUT", f"vm.{what}", body)
        return json.loads(text) if text.startswith("{") else text

    def info(self):
        return json.loads(self.ask("GET", "vm.info"))

    def count(self, device, key):
        return json.loads(self.ask("GET", "vm.counters"))[device][key]

    def rss_mib(self):
        text = self.place.run(f"grep VmRSS /proc/{self.vm.pid}/status").output
        return int(re.search(r"\d+", text)[0]) >> 10

    def until(self, what, seconds=60):
        """Look until what() is true, and return that."""
        end = time.monotonic() + seconds * PATIENCE
        while not (found := what()):
            assert time.monotonic() < end, f"{self.rss_mib()} MiB; {self.ask('GET', 'vm.counters')}; {self.vm.tail()}"
            time.sleep(0.3)
        return found
