# SPDX-License-Identifier: Apache-2.0
"""The tiny guests of test/guest, run in virga on this machine's /dev/kvm.

	def test_it(guest, work):
	    report = guest("told acpi", "--disk", f"path={disk}")
	    assert report.all("MAP")[0] == ["0", "a0000", "1"]

`guest` runs the guest with these words to its end, checks that virga ended well and that every check
the guest made passed, and returns what it said, line by line.
"""
import array
import os
import re
from pathlib import Path

import pytest

from lib.virga import PATIENCE, TOP, binary


def guest_file(name):
    """A built guest: in $VIRGA_BUILD, else in the newest build directory that has it."""
    named = os.environ.get("VIRGA_BUILD")
    roots = [Path(named)] if named else sorted((TOP / "out").glob("*"), reverse=True,
                                               key=lambda p: p.stat().st_mtime)
    for root in roots:
        path = root / "test/guest" / name
        if path.is_file():
            return str(path)
    pytest.fail(f"there is no test/guest/{name} in {named or TOP / 'out'}: run ./dev test guest")


def pattern_disk(path, mib=16):
    """A disk whose 8-byte words hold their own byte offset, as the guest expects."""
    with open(path, "wb") as f:
        for i in range(mib):
            f.write(array.array("Q", range(i << 20, (i + 1) << 20, 8)).tobytes())
    return path


def sparse(path, size):
    """A file of so many bytes, all of which are a hole; its path as text."""
    with open(path, "wb") as f:
        f.truncate(size)
    return str(path)


def sum8(data):
    """The checksum that the guest prints of bytes it has been given."""
    return sum(data) & 0xff


class Report:
    """What a guest said: its lines "R3 WORD rest"."""

    def __init__(self, text, vm):
        self.text = text.replace("\r", "")
        self.vm = vm
        self.lines = [line[3:].split() for line in self.text.split("\n") if line.startswith("R3 ")]

    def all(self, word):
        """The fields of every line with this word."""
        return [line[1:] for line in self.lines if line[0] == word]

    def one(self, word):
        """The key=value fields of the first line with this word, as a dict; bare fields count up."""
        lines = self.all(word)
        assert lines, f"the guest said no {word}: {self.text[-2000:]}"
        fields = {}
        for i, field in enumerate(lines[0]):
            key, _, value = field.partition("=")
            fields[key if value or "=" in field else i] = value if "=" in field else field
        return fields

    def hex(self, word, key):
        return int(self.one(word)[key], 16)

    def tables(self):
        """The bytes of each ACPI table that the guest was told to show (acpihex)."""
        found = {}
        for number, offset, data in self.all("HEX"):
            assert len(found.setdefault(number, b"")) == int(offset)
            found[number] += bytes.fromhex(data)
        return list(found.values())

    def table(self, name):
        """The one table of this name."""
        [table] = [data for data in self.tables() if data[:4] == name.encode()]
        return table

    @property
    def failed(self):
        return [" ".join(line[1:]) for line in self.lines if line[0] == "FAIL"]

    @property
    def passed(self):
        return [" ".join(line[1:]) for line in self.lines if line[0] == "PASS"]

    def check(self):
        """The guest came to its end, and nothing it looked at was wrong."""
        said = f"{self.text[-3000:]}\n{self.vm.tail()}"
        assert not self.failed, f"guest: {'; '.join(self.failed)}\n{said}"
        assert ["0"] in self.all("EXIT"), f"the guest did not come to its end:\n{said}"
        assert "AddressSanitizer" not in self.vm.text and "runtime error:" not in self.vm.text, said


@pytest.fixture
def start_guest(virga, work):
    """Start a guest: start_guest(words, *args, cpus=1, memory="128M", serial=None, kernel=...).

    `cpus` is a number, or all that --cpus says.
    Its serial port goes to a file unless `serial` says otherwise; `report(vm)` reads it.
    """
    count = [0]

    def start(words, *args, cpus=1, memory="128M", serial=None, kernel="guest.elf", console="off",
              **named):
        count[0] += 1
        path = f"{work}/serial{count[0]}"
        if isinstance(cpus, int):
            cpus = f"boot={cpus}"
        vm = virga("--kernel", guest_file(kernel), "--cmdline", words, "--cpus", cpus,
                   "--memory", f"size={memory}", "--serial", serial or f"file={path}",
                   "--console", console, *args, **named)
        vm.serial_path = None if serial else path
        return vm

    return start


def report_of(vm):
    return Report(vm.file_text(vm.serial_path) if vm.serial_path else vm.text, vm)


@pytest.fixture
def guest(start_guest):
    """Run a guest to its end; takes what start_guest takes, and `timeout` in seconds."""

    def run(words, *args, timeout=60, **named):
        vm = start_guest(words, *args, **named)
        status = vm.wait(timeout)
        report = report_of(vm)
        assert status == 0, f"virga ended with {status}: {report.text[-2000:]} {vm.tail()}"
        report.check()
        return report

    return run


@pytest.fixture
def refuses(virga):
    """refuses(sentence, *args): virga does not start the tiny guest with these arguments, and says this."""

    def run(sentence, *args):
        vm = virga("--kernel", guest_file("guest.elf"), "--serial", "off", "--console", "off", *args, overhead=False)
        assert vm.wait() == 1, vm.tail()
        assert sentence in vm.text, vm.text

    return run


def sanitized_binary():
    """virga built with address and undefined-behaviour sanitizers, or None."""
    path = Path(os.environ.get("VIRGA_ASAN") or TOP / "out/test-asan/virga")
    return str(path) if os.access(path, os.X_OK) else None


@pytest.fixture(params=["plain", "sanitized"])
def build(request):
    """Runs a test twice: named arguments for the program as it is, and for its sanitized build."""
    if request.param == "plain":
        return {"program": binary()}
    program = sanitized_binary()
    if not program:
        pytest.skip("there is no sanitized virga: ./dev test unit makes it, or $VIRGA_ASAN names it")
    return {"program": program, "overhead": False,
            "env": {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
                    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}}


def lines_with(text, pattern):
    return [line for line in text.split("\n") if re.search(pattern, line)]


def patient(seconds):
    return seconds * PATIENCE
