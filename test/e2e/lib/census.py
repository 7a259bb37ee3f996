# SPDX-License-Identifier: Apache-2.0
"""The census of options and system calls: what rows there are, and what a traced run has made of them.

The build leaves two tables: test/options lists every option and key, src/guard/filters.rows every row of a
.calls file with its profile. strace says which thread made which call with which arguments, and by the length of the
filter that a thread loads, which is no other's, which profile it has.
"""
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from lib.virga import TOP

CALL = re.compile(r"(\d+) +(\w+)\((.*)")
# -D: the traced program keeps the process that was started, and strace looks on from another.
STRACE = ["strace", "-D", "-f", "-q", "-e", "raw=!seccomp", "-e", "signal=none"]


def build_dir():
    named = os.environ.get("VIRGA_BUILD")
    roots = [Path(named)] if named else sorted((TOP / "out").glob("test-gcc"))
    return next(root for root in roots if (root / "src/guard/filters.rows").is_file())


# --- options ---

def options():
    """{(option, key): words} of all that is built; key "" is the option itself."""
    out = subprocess.run([build_dir() / "test/options"], capture_output=True, text=True, check=True).stdout
    found = defaultdict(set)
    for line in out.splitlines():
        option, key, built, words = line.split("\t")
        if built == "built":
            found[option, key] |= {word for word in words.split(",") if word}
    return dict(found)


def split_value(text):
    """The parts of key=value,... at commas outside of brackets and quotes."""
    parts, depth, quoted, part = [], 0, False, ""
    for c in text:
        quoted ^= c == '"'
        depth += (c == "[") - (c == "]")
        if c == "," and not depth and not quoted:
            parts.append(part)
            part = ""
        else:
            part += c
    return [*parts, part]


def said(args, known):
    """(option, key, value) of everything that these arguments say; key "" is a bare value or the option itself."""
    keys = {key for _, key in known}
    option = None
    for arg in map(str, args):
        if re.fullmatch(r"--[a-z-]+", arg):
            option = arg
            yield option, "", ""
        elif re.fullmatch(r"-v+", arg):
            yield "-v", "", ""
        elif option:
            for part in split_value(arg):
                key, equals, value = part.partition("=")
                if equals and key in keys and (option, key) in known:
                    yield option, key, value
                else:
                    yield option, "", part


# --- system calls ---

OWN_PROCESS = 0x6f776e70  # tools/mkfilter.c: stands for the number of the process that is traced


@dataclass
class Row:
    profile: str
    place: str  # file:line
    call: str
    arg: int | None
    mask: int
    value: int
    reason: str
    text: str
    users: set = field(default_factory=set)  # profiles of threads that made it

    def fits(self, call, args):
        if call != self.call:
            return False
        if self.arg is None:
            return True
        return self.arg < len(args) and self.value in (OWN_PROCESS, args[self.arg] & self.mask)


class Rows:
    """All rows; `take` notes which of them a trace has needed."""

    def __init__(self):
        self.rows, self.lengths = [], {}
        for line in (build_dir() / "src/guard/filters.rows").read_text(encoding="utf-8").splitlines():
            kind, *words = line.split("\t")
            if kind == "profile":
                self.lengths[int(words[1])] = words[0]
                continue
            profile, file, number, call, arg, mask, value, reason, text = words
            self.rows.append(Row(profile, f"src/{file}:{number}", call, None if arg == "-" else int(arg), int(mask),
                                 int(value), "" if reason == "-" else reason, text))
        self.by_call = defaultdict(list)
        for row in self.rows:
            self.by_call[row.call].append(row)

    def take(self, trace):
        """Note what a trace (the text of strace -f) needed; returns the threads seen, by profile."""
        profile, seen, born = {}, defaultdict(set), ""
        for line in trace.splitlines():
            found = CALL.match(line)
            if not found:
                continue
            thread, call, rest = found.groups()
            born = born or thread
            if thread not in profile and profile.get(born):
                profile[thread] = profile[born]  # until it has its own
            if thread in profile:
                seen[profile[thread]].add(thread)
                self.note(profile[thread], call, arguments(rest))
            if call == "seccomp":
                length = re.search(r"len=(\d+)", rest)
                if length:
                    profile[thread] = self.lengths[int(length.group(1))]
        return seen

    def note(self, profile, call, args):
        for row in self.by_call[call]:
            if row.profile in (profile, "*") and row.fits(call, args):
                row.users.add(profile)

    def idle(self):
        """Rows that nothing has needed and that say no reason."""
        return [row for row in self.rows if not row.users and not row.reason]


def arguments(rest):
    """The numbers between the parentheses, as far as they are numbers."""
    args = []
    for word in re.split(r", ", re.split(r"\)\s+=|\) *<|<unfinished", rest)[0]):
        try:
            args.append(int(word.strip(" )"), 0))
        except ValueError:
            args.append(0)
    return args
