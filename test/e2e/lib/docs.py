# SPDX-License-Identifier: Apache-2.0
"""The commands of README.md and docs/*.md, and how each is run; the convention is docs/testing.md's.

A fence whose language is sh holds commands; the words behind it say how they are run:

	sh native               on this machine, with the tiny guest as every kernel
	sh native background    the same, left running until the page ends
	sh rig [background]     in the nested host, with stock Linux
	sh network              on this machine, with its network
	sh by FILE::TEST        by that test
	sh shown: REASON        by nobody, for a reason

Comments right above a fence prepare and judge it: <!-- before: COMMAND -->, <!-- guest: WORDS -->,
<!-- expect: REGEXP -->.
"""
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lib.linux import guest_command
from lib.virga import remote_binary

TOP = Path(__file__).resolve().parents[3]
# Printed from the rows of options, and held equal to them by a test of its own.
GENERATED = {"options.md"}
RUN_MODES = ("native", "rig", "network")
COMMENT = re.compile(r"<!-- (before|guest|expect): (.*) -->$")
# What a line of no command fence may not look like, for nobody would run it.
COMMAND = re.compile(r"^\s*(\$ |# )?(sudo )?(\./dev \w|([^\s=]*/)?(virga|cloud-hypervisor)(-remote|-backend)? "
                     r"(--?\w|\\$))")
INLINE = re.compile(r"`(\S*/)?virga (?=[^`]*--(kernel|firmware))[^`]*`")
SHELL = ("sh", "bash", "shell", "console", "shell-session")


@dataclass
class Fence:
    """One block of commands, or of something else (mode None)."""
    page: str
    line: int
    info: str
    text: str = ""
    mode: str | None = None
    rest: str = ""
    before: list = field(default_factory=list)
    expect: list = field(default_factory=list)
    guest: str = ""
    wrong: str = ""

    @property
    def background(self):
        return self.mode in RUN_MODES and self.rest == "background"

    def judge(self):
        """Fill in mode and rest, or what is wrong."""
        words = self.info.split(None, 1)
        if not words or words[0] not in SHELL:
            if any(COMMAND.match(line) for line in self.text.splitlines()):
                self.wrong = "looks like a command: make it a fence of sh that says how it is run"
            return
        how = words[1] if len(words) > 1 else ""
        mode, _, rest = how.partition(" ")
        self.mode, self.rest = mode.rstrip(":"), rest.strip()
        if words[0] != "sh":
            self.wrong = f"language {words[0]}: say sh"
        elif self.mode in RUN_MODES:
            if self.rest not in ("", "background"):
                self.wrong = f"'{self.rest}' is no way to run it"
        elif self.mode == "shown":
            if len(self.rest) < 10 or not mode.endswith(":"):
                self.wrong = "says no reason: sh shown: <why nobody runs it>"
        elif self.mode == "by":
            self.wrong = missing_test(self.rest)
        else:
            self.wrong = "does not say how it is run: sh native, rig, network, by <test>, or shown: <reason>"


def missing_test(name):
    path, _, function = name.partition("::")
    file = TOP / path
    if not file.is_file() or not re.search(rf"^def {re.escape(function)}\(", file.read_text(), re.M):
        return f"there is no test {name}"
    return ""


def fences_of(name, text):
    """Every fence of a page, and one for each indented line that looks like a command."""
    found, comments, fence, mark = [], [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if fence:
            if stripped == mark:
                fence.judge()
                found.append(fence)
                fence, comments = None, []
            else:
                fence.text += line + "\n"
            continue
        opened = re.match(r"\s*(```+|~~~+)(.*)$", line)
        comment = COMMENT.match(stripped)
        if opened:
            mark = opened.group(1)
            fence = Fence(name, number, opened.group(2).strip())
            for kind, value in comments:
                if kind == "guest":
                    fence.guest = value
                else:
                    getattr(fence, kind).append(value)
        elif comment:
            comments.append(comment.groups())
        else:
            if comments and stripped:
                found.append(Fence(name, number, "", wrong="the comment above it belongs to no fence"))
            if stripped:
                comments = []
            if INLINE.search(line) or (line.startswith(("    ", "\t")) and COMMAND.match(line)):
                found.append(Fence(name, number, "", wrong="a command outside of a fence: make it one of sh"))
    if fence:
        fence.wrong = "has no end"
        found.append(fence)
    return found


def pages():
    """README.md and every page of docs, by name."""
    return ["README.md", *sorted(f"docs/{p.name}" for p in (TOP / "docs").glob("*.md")
                                 if p.name not in GENERATED)]


def fences(name):
    return fences_of(name, (TOP / name).read_text(encoding="utf-8"))


def pages_with(mode):
    return [name for name in pages() if any(f.mode == mode and not f.wrong for f in fences(name))]


# Stands for virga in the page's shell: the words for the guest go behind the command line that the page shows.
WRAPPER = """#!/bin/bash
args=() said=
while (($#)); do
	args+=("$1")
	if [[ $1 == --cmdline && -n $DOC_WORDS ]]; then
		said=1
		args+=("${2:-} $DOC_WORDS")
		shift
	fi
	shift
done
[[ -z $DOC_WORDS || -n $said || " ${args[*]} " != *" --kernel "* ]] || args+=(--cmdline "$DOC_WORDS")
exec -a "$(basename "$0")" "$DOC_VIRGA" "${args[@]}"
"""

HEAD = """set -euo pipefail
cd "$DOC_WORK"
export PATH=$DOC_WORK/out/bin:$PATH HOME=$DOC_WORK TERM=dumb
backs=()
# wait_for COMMAND...: until it succeeds, 20 s at most
wait_for() {
	local i
	for ((i = 0; i < 200; i++)); do
		! "$@" > /dev/null 2>&1 || return 0
		sleep 0.1
	done
	echo "waited in vain for: $*"
	return 1
}
ip link set lo up 2> /dev/null || true
"""

TAIL = """
echo "=== end"
status=0
# what was started last has a moment in which to fail
((${#backs[@]} == 0)) || sleep 0.3
for back in "${backs[@]}"; do
	pid=${back%% *} name=${back#* }
	if ! kill -0 "$pid" 2> /dev/null && ! wait "$pid"; then
		echo "what $name left running has failed:"
		status=1
	fi
	echo "=== $name"
	cat "$name"
done
exit $status
"""


def words_for(fence):
    """What the guest of a fence is told: verbs of the tiny guest, or a script for the test guest of the rig."""
    if fence.mode != "rig":
        return fence.guest
    return f"quiet console=ttyS0 {guest_command(fence.guest or 'true')}"


def script_of(all_fences, mode):
    """The one shell script that runs the fences of a page with this mode, in their order."""
    parts = [HEAD]
    for f in all_fences:
        if f.mode != mode:
            continue
        parts.append(f'echo "=== {f.line}"\nexport DOC_WORDS={shlex.quote(words_for(f))}\n')
        parts += [f"{command}\n" for command in f.before]
        if f.background:
            # the page may come to its end before the child has begun: the file is there all the same
            parts.append(f': > back{f.line}\n{{\n{f.text}}} > back{f.line} 2>&1 &\nbacks+=("$! back{f.line}")\n')
        else:
            parts.append(f.text)
    for f in all_fences:
        if f.mode == mode and f.background:
            parts += [f"wait_for grep -Pq {shlex.quote(wanted)} back{f.line} || true\n" for wanted in f.expect]
    return "".join([*parts, TAIL])


def furnish(place, work, kernels, program):
    """The files that a page may name: kernels, an initramfs, a disk, virga itself, and what we need not be here."""
    lines = [f"mkdir -p {work}/out/bin", f"cd {work}", "truncate -s 16M disk.raw"]
    lines += [f"ln -s {path} {name}" for name, path in kernels.items()]
    place.run("\n".join(lines))
    place.put(f"{work}/out/bin/virga", WRAPPER)
    place.put(f"{work}/out/bin/sudo", '#!/bin/sh\nexec "$@"\n')
    place.run(f"cd {work}/out/bin && chmod +x virga sudo && ln -s virga cloud-hypervisor && "
              f"ln -s {remote_binary()} virga-remote && ln -s virga-remote ch-remote")
    return {"DOC_WORK": work, "DOC_VIRGA": program}


def run_page(place, work, name, mode, kernels, program, timeout):
    """Run a page's fences of one mode and look at what they said."""
    env = furnish(place, work, kernels, program)
    place.put(f"{work}/page.sh", script_of(fences(name), mode))
    apart = "" if mode == "network" else "--net"
    # whatever a page leaves running goes with the namespace of its processes
    command = (f"{' '.join(f'{k}={shlex.quote(v)}' for k, v in env.items())} timeout -k 5 {int(timeout)} "
               f"unshare {'' if os.geteuid() == 0 else '-r'} {apart} --pid --fork --kill-child --mount-proc "
               f"bash {work}/page.sh < /dev/null")
    done = place.run(command, timeout=timeout + 30, check=False)
    said = done.output.replace("\r", "")
    assert done.status == 0, f"{name} ended with {done.status}; lines of the page are marked ===\n{said[-6000:]}"
    for f in fences(name):
        if f.mode == mode:
            for wanted in f.expect:
                mark = f"=== back{f.line}\n" if f.background else f"=== {f.line}\n"
                part = said.split(mark, 1)[1].split("\n=== ", 1)[0]
                assert re.search(wanted, part, re.M), f"{name}:{f.line} did not say {wanted!r} but:\n{part[-3000:]}"
