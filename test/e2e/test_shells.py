# SPDX-License-Identifier: Apache-2.0
"""Completion in the shells themselves: a line is typed up to a tab, and what the shell makes of it is read back."""
import shutil
import subprocess

import pexpect
import pytest

from lib.virga import PATIENCE, remote_binary

SHELLS = ("bash", "zsh", "fish")
# typed up to the tab; what stands there when one thing can follow
ONE = [
    ("virga-remote --api-s", "virga-remote --api-socket "),
    ("virga-remote --api-socket /x add-us", "virga-remote --api-socket /x add-user-device "),
    ("ch-remote power", "ch-remote power-button "),
    ("virga-remote resize --cp", "virga-remote resize --cpus "),
    ("virga-remote add-disk rea", "virga-remote add-disk readonly="),
    ("virga-remote add-disk path=ima", "virga-remote add-disk path=image.raw"),
    ("virga-remote add-disk path=image.raw,dire", "virga-remote add-disk path=image.raw,direct="),
    ("virga-remote add-disk path=image.raw,direct=of", "virga-remote add-disk path=image.raw,direct=off"),
    ("virga-remote create ima", "virga-remote create image.raw"),
    ("virga-remote --api-socket=ima", "virga-remote --api-socket=image.raw"),
    ("virga-remote --completion zs", "virga-remote --completion zsh "),
    ("virga --firmw", "virga --firmware "),
    ("virga --disk path=image.raw path=ima", "virga --disk path=image.raw path=image.raw"),
    ("virga --kernel ima", "virga --kernel image.raw"),
    ("virga --seccomp err", "virga --seccomp errno "),
    ("virga --console file=ima", "virga --console file=image.raw"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory with a file to complete, a program of each name, and the scripts."""
    where = tmp_path_factory.mktemp("shells")
    (where / "image.raw").touch()
    (where / "bin").mkdir()
    for name in ("virga", "virga-remote", "ch-remote"):
        (where / "bin" / name).symlink_to("/bin/true")
    for shell in SHELLS:
        for of in ("", ":virga"):
            script = subprocess.run([remote_binary(), "--completion", shell + of], capture_output=True, check=True)
            (where / f"{shell}{of.replace(':', '.')}").write_bytes(script.stdout)
    return where


def started(shell, home):
    """A shell at its prompt that has read the scripts, as a user's would."""
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here: install the package {shell}")
    args = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    env = {"PATH": f"{home}/bin:/usr/bin:/bin", "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    child = pexpect.spawn(shell, args, cwd=str(home), env=env, encoding="utf-8", timeout=20 * PATIENCE,
                          dimensions=(50, 300))
    begin = {"bash": "PS1='%% '; bind 'set bell-style none'",
             "zsh": "PS1='%%%% '; unsetopt beep prompt_sp; autoload -Uz compinit; compinit -u -D"}[shell]
    child.sendline(begin)
    child.sendline(f"source ./{shell}; source ./{shell}.virga; echo re''ady")
    child.expect("ready")
    child.expect("%% ")
    return child


def completed(child, typed):
    """What stands in the line of bash or zsh after a tab; it is made an argument of echo to be read."""
    child.send(f"{typed}\t")
    child.send("\x01echo '<\x05>'\r")
    child.expect(r"\n<(.*?)>")
    line = child.match.group(1)
    child.expect("%% ")
    return line


def offered(home, line):
    """The words that fish would put in place of the last one."""
    sources = f"source {home}/fish; source {home}/fish.virga"
    told = subprocess.run(["fish", "--no-config", "-c", f"{sources}; complete -C '{line}'"], cwd=home, text=True,
                          capture_output=True, check=True, timeout=20 * PATIENCE)
    assert not told.stderr
    return [row.split("\t")[0] for row in told.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_completes_what_can_follow(shell, home):
    child = started(shell, home)
    for typed, stands in ONE:
        assert completed(child, typed).rstrip() == stands.rstrip(), typed
    child.close(force=True)


def test_fish_offers_what_can_follow(home):
    if not shutil.which("fish"):
        pytest.skip("there is no fish here: install the package fish")
    for typed, stands in ONE:
        assert stands.split()[-1] in offered(home, typed), typed
    assert "boot" in offered(home, "virga-remote --api-socket image.raw ")
    assert offered(home, "virga-remote boot ") == []
    assert "add-disk" not in offered(home, "virga-remote boot add-")
