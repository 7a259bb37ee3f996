# SPDX-License-Identifier: Apache-2.0
"""Snapshots of earlier builds: this one goes on from each. See docs/compatibility.md."""
import os
import re
import subprocess

import pytest

from lib.corpus import HERE, classes_of, how_of, others, unpack
from lib.lives import MODES
from lib.virga import TOP, remote_binary

ENTRIES = sorted(HERE.glob("*.tar.xz"))


@pytest.fixture(scope="module", params=ENTRIES, ids=lambda e: e.name.removesuffix(".tar.xz"))
def entry(request, tmp_path_factory):
    """An entry, unpacked; its files are each life's own."""
    top = tmp_path_factory.mktemp("entry")
    unpack(request.param, top)
    return top


def test_there_are_entries_and_they_are_small():
    assert len(ENTRIES) >= 2
    assert sum(os.stat(e).st_size for e in ENTRIES) < 1 << 20


def test_each_class_of_devices_is_in_an_entry():
    there = set().union(*(classes_of(entry) for entry in ENTRIES))
    said = {}
    for path in (TOP / "src").glob("*/*.c"):
        said |= dict(re.findall(r"^const struct \w+_class (\w+) = {[^}]*?\.name = \"(\w+)\"", path.read_text(), re.M))
    classes = [said[name] for name in re.findall(r"&(\w+_class)\b", (TOP / "src/vm/roster.c").read_text())]
    assert len(classes) > 20
    for name in classes:
        assert name in there, f"nothing of {name} is in the corpus: add a recipe to lib/corpus.py, and an entry (./dev corpus)"


@pytest.mark.parametrize("mode", MODES)
def test_a_guest_of_an_earlier_build_goes_on(virga, entry, tmp_path, mode):
    subprocess.run(["cp", "-r", "--sparse=always", f"{entry}/.", tmp_path], check=True)
    how = how_of(tmp_path)
    with others(how, tmp_path):
        asked = subprocess.run([remote_binary(), "snapshot-check", tmp_path / "snap", "--with", how["restore"]],
                               capture_output=True, text=True, check=False)
        if asked.returncode and "things are in the way" not in asked.stderr and "has seen a processor of" in asked.stderr:
            pytest.skip(asked.stderr.strip())
        assert asked.returncode == 0, asked.stderr
        vm = virga("--restore", f"source_url=file://{tmp_path}/snap,resume=on,memory_restore_mode={mode},{how['restore']}",
                   overhead=False)
        vm.type(how.get("type", ""))
        for words in how["says"]:
            vm.wait_for(words)
        assert vm.wait() == how.get("status", 0), vm.tail()
