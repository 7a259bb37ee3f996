# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent to whichever endpoint in whichever state: the answer is one that the program's own OpenAPI document
promises, an error changes nothing, and the program lives on.

VIRGA_API_EXAMPLES says how many requests an endpoint gets in each state; few without it, so that it is quick."""
import json
import os

import pytest
from hypothesis import HealthCheck, Phase, configuration, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, RefResolver

from lib.api import Api, small_config
from lib.process import descriptors_of
from lib.virga import TOP

configuration.set_hypothesis_home_dir(str(TOP / "out/hypothesis"))
EXAMPLES = int(os.environ.get("VIRGA_API_EXAMPLES", "12"))
STATES = [None, "Created", "Running", "Paused", "Shutdown", "BreakPoint"]
# what the program prints: test/unit/conf/doc.c sees to that
DOCUMENT = json.loads((TOP / "docs/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
# paths are of the working directory, so that nothing is made elsewhere
TEXTS = st.one_of(st.sampled_from(["", "a", "_disk0", "x" * 200, "file://x", "tcp:localhost:1", "unix:x", "/dev/null",
                                   "/nowhere/at/all", ".", "\u00e9\u4e2d", "12:34:56:78:9a:bc", "0x10", "rw"]),
                  st.text(alphabet="ab.-_:=,[]@\"\\ \u00e9\u0001", max_size=12))
NUMBERS = st.one_of(st.sampled_from([0, 1, 2, 3, 255, 65536, 1 << 31, 1 << 32, (1 << 63) - 1]), st.integers(-9, 1 << 64))
JUNK = st.recursive(st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False, allow_infinity=False), TEXTS),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
                    max_leaves=4)


def numbers_of(schema):
    low, high = schema.get("minimum", -(1 << 31)), schema.get("maximum", 1 << 62)
    return st.one_of(st.sampled_from([low, high]), st.integers(low, min(high, low + 4)))


def value_of(schema, depth=0):
    """Values of a schema of the document."""
    if "$ref" in schema:
        return object_of(schema["$ref"].rsplit("/", 1)[1], depth + 1)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return st.lists(value_of(schema["items"], depth), max_size=2)
    return {"boolean": st.booleans(), "integer": numbers_of(schema), "string": TEXTS}.get(kind, JUNK)


def object_of(name, depth=0):
    schema = SCHEMAS[name]
    # a process that has confined itself stays so, and all that follows would be another test
    rows = {key: st.just(False) if key == "landlock_enable" else value_of(row, depth)
            for key, row in schema["properties"].items() if depth < 5}
    must = set(schema.get("required", ()))
    few = st.fixed_dictionaries({key: row for key, row in rows.items() if key in must})
    one = st.sampled_from([(key, row) for key, row in rows.items() if key not in must] or [(None, None)])
    more = st.lists(one, max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries({key: row for key, row in chosen if key}))
    return st.builds(lambda a, b: {**b, **a}, few, more)


def spoilt(value, where, junk):
    """The value with one member, at any depth, replaced; or with one that nobody knows."""
    if not isinstance(value, dict) or not value:
        return junk
    keys = sorted(value)
    key = keys[where % len(keys)]
    if where % 7 == 0:
        return {**value, "nobody_knows": junk}
    if isinstance(value[key], dict) and where % 3:
        return {**value, key: spoilt(value[key], where // 3, junk)}
    return {**value, key: junk}


def said_twice(value):
    text = json.dumps(value)
    if not isinstance(value, dict) or not value:
        return text.encode()
    key = sorted(value)[0]
    return (text[:-1] + f", {json.dumps(key)}: {json.dumps(value[key])}}}").encode()


FOUL = st.sampled_from([b"", b"{", b"nothing", b"[]", b"null", b"\"\\ud800\"", b"{\"a\":1}}", b"\xff\xfe{}", b"{\"\xc3\": 1}",
                        b"[" * 2000, b"{\"cpus\":" * 40 + b"1" + b"}" * 40, b"1e999", b" " * 3000 + b"{}", b"{}\0{}"])


def bodies(schema):
    """None, or bytes: right for the schema, nearly so, and foul."""
    if schema is None:
        return st.one_of(st.none(), st.just(b""), st.just(b"{}"), FOUL, st.binary(min_size=1, max_size=8))
    whole = object_of(schema)
    return st.one_of(
        whole.map(lambda v: json.dumps(v).encode()),
        st.builds(lambda v, n, j: json.dumps(spoilt(v, n, j)).encode(), whole, st.integers(0, 999), JUNK),
        whole.map(said_twice),
        JUNK.map(lambda v: json.dumps(v).encode()),
        FOUL, st.none())


HEADERS = st.sampled_from([(), (), (("Prefer", "respond-async"),), (("Prefer", "wait=5, respond-async"),),
                           (("Accept", "application/json"),), (("X-Long", "y" * 900),)])


def resolver():
    return RefResolver.from_schema(DOCUMENT)


def content_of(op, code):
    return op["responses"][str(code)].get("content", {})


class Judge:
    """Sends requests to one program, and looks at what comes back."""

    def __init__(self, socket, state, pid):
        self.api, self.state, self.pid = Api(socket), state, pid
        self.config = small_config(gdb=state == "BreakPoint")
        self.rules = {}
        self.sent = 0
        self.fd = os.open("/dev/null", os.O_RDWR)

    def restore(self):
        self.api.bring(self.state, self.config)
        config = self.api.get("vm.info")["config"] if self.state else {}
        for section in ("disks", "net", "pmem", "vsock"):
            there = config.get(section) or []
            for device in there if isinstance(there, list) else [there]:
                self.api.put("vm.remove-device", {"id": device["id"], "force": True})

    def rule(self, schema):
        key = json.dumps(schema)
        if key not in self.rules:
            self.rules[key] = Draft4Validator(schema, resolver=resolver())
        return self.rules[key]

    def check(self, op, answer):
        """Is the answer one of those promised?"""
        assert str(answer.code) in op["responses"], f"{op['operationId']} never promised {answer}"
        content = content_of(op, answer.code)
        if not content:
            assert answer.body == b""
            return
        media = next(iter(content))
        assert answer.headers["content-type"] == media
        if media == "application/json":
            self.rule(content[media]["schema"]).validate(answer.json)
        if answer.code >= 400:
            assert answer.json and all(isinstance(text, str) and text for text in answer.json)

    def try_one(self, method, path, op, request):
        body, headers, fds, number = request
        answer = self.api.ask(method, path.replace("{id}", str(number)), body, headers, [self.fd] * fds)
        self.sent += 1
        self.check(op, answer)
        if answer.code == 202:
            self.api.job(answer.json["id"])
        if answer.code >= 400:
            assert self.api.state() == self.state, f"{path} failed, and changed the state: {answer}"
        else:
            self.restore()


def requests_of(op, path):
    body = op.get("requestBody")
    schema = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1] if body else None
    fds = st.sampled_from([0, 0, 0, 0, 1, 2, 17])
    wanted = bodies(schema)
    if path in ("/vmm.shutdown", "/events", "/vm.nmi"):
        # one ends the program, one has no end, one is more than the guest can take: only what is refused
        return st.tuples(st.sampled_from([b"{}", b"x"]), HEADERS, fds, st.just(1))
    if schema is None and path.startswith("/vm.") and op["operationId"] not in ("infoVM", "countersVM"):
        # verbs are slow where they succeed, so most are spoilt
        wanted = st.one_of(*[st.sampled_from([b"{}", b"[1]", b"\xff"])] * 15, wanted)
    return st.tuples(wanted, HEADERS, fds, st.sampled_from([0, 1, 2, 99, 1 << 63, 1 << 64]))


def life_is_flat(judge, before):
    """No descriptor stays but those of who is connected."""
    now = descriptors_of(judge.pid)
    assert len(now) <= len(before) + 2, sorted(set(now.items()) - set(before.items()))


def debugger(state, work):
    """A machine that waits for a debugger needs a socket where one could come."""
    return ["--gdb", f"path={work}/gdb"] if state == "BreakPoint" else []


@pytest.mark.parametrize("state", STATES, ids=[s or "none" for s in STATES])
def test_every_answer_is_one_that_was_promised(virga, work, state):
    vm = virga("--api-socket", f"path={work}/api", *debugger(state, work), overhead=False)
    judge = Judge(f"{work}/api", state, vm.pid)
    judge.restore()
    before = descriptors_of(vm.pid)
    for path, ops in DOCUMENT["paths"].items():
        for method, op in ops.items():
            @seed(1)
            @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))
            @given(requests_of(op, path))
            def one(request):
                judge.try_one(method.upper(), path[1:], op, request)
            one()
            assert judge.api.get("vmm.ping")["pid"] == vm.pid
    print(f"{judge.sent} requests in state {state}")
    life_is_flat(judge, before)
    os.close(judge.fd)
    judge.api.put("vmm.shutdown")
    judge.api.close()
    assert vm.wait() == 0
    for name in os.listdir(work):  # what consoles and core dumps were told to write to
        os.unlink(f"{work}/{name}")
