# SPDX-License-Identifier: Apache-2.0
"""The first thing a person does with this project."""
import shutil
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def test_demo_boots_debian_to_its_login_and_leaves_it(here, images):
    shutil.rmtree(TOP / "out/demo", ignore_errors=True)
    done = here.run(f"cd {TOP} && ./dev demo --check", timeout=900, check=False)
    assert done.status == 0, done.output[-6000:]
    assert "the VM ended well" in done.output
