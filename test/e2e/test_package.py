# SPDX-License-Identifier: Apache-2.0
"""The Debian package: what is in it, that it installs and goes, and what systemd thinks of its unit."""
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.virga import TOP, binary

pytestmark = pytest.mark.xdist_group("package")  # made and installed once
UNIT = "usr/lib/systemd/system/virga@.service"
# Of the least that `systemd-analyze security` may find; 10 is a unit without any protection.
EXPOSURE_MAX = 3.5


def run(*words, status=0, **more):
    done = subprocess.run([str(w) for w in words], text=True, capture_output=True, check=False, **more)
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def package(where, name):
    programs = Path(binary()).resolve().parent
    return Path(run(TOP / "tools/mkdeb", programs, where / name).strip())


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    return package(tmp_path_factory.mktemp("deb"), "one")


@pytest.fixture(scope="module")
def root(deb, tmp_path_factory):
    """A root directory with the package installed in it."""
    root = tmp_path_factory.mktemp("root")
    for path in ("updates", "info"):
        (root / "var/lib/dpkg" / path).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc").mkdir()
    run(*dpkg(root), "-i", deb, env=sane())
    return root


def dpkg(root):
    return ["dpkg", f"--root={root}", "--force-script-chrootless", "--log=/dev/null"]


def sane():
    return {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def test_the_same_tree_makes_the_same_package(deb, tmp_path):
    again = package(tmp_path, "two")
    assert again.name == deb.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(deb.read_bytes()).digest()


def test_the_package_says_what_it_is(deb):
    said = run("dpkg-deb", "-f", deb)
    version = re.search(r"version: '(.*?)'", (TOP / "meson.build").read_text()).group(1)
    assert f"Version: {version}\n" in said
    assert "Depends" not in said
    assert deb.name == f"virga_{version}_{run('dpkg', '--print-architecture').strip()}.deb"


def test_the_package_brings_programs_pages_completions_and_units(deb):
    rows = [row.split(None, 5) for row in run("dpkg-deb", "-c", deb).splitlines()]
    files = {row[5].split(" -> ")[0].removeprefix("./"): row for row in rows}
    for name in ("usr/bin/virga", "usr/bin/virga-remote"):
        assert files[name][0] == "-rwxr-xr-x"
    for name in ("usr/share/man/man1/virga.1.gz", "usr/share/man/man1/virga-remote.1.gz", UNIT,
                 "usr/lib/sysusers.d/virga.conf", "usr/lib/tmpfiles.d/virga.conf", "usr/share/doc/virga/copyright",
                 "usr/share/doc/virga/services.md", "usr/share/bash-completion/completions/virga-remote",
                 "usr/share/zsh/vendor-completions/_virga-remote", "usr/share/zsh/vendor-completions/_virga",
                 "usr/share/fish/vendor_completions.d/virga-remote.fish"):
        assert files[name][0] == "-rw-r--r--", name
    assert {row[1] for row in rows} == {"root/root"}
    assert not [name for name in files if name.startswith(("usr/local", "home", "tmp", "etc"))]


def test_it_installs_and_what_it_installs_runs(root):
    assert run(root / "usr/lib/virga/compat/cloud-hypervisor", "--version").startswith("cloud-hypervisor v")
    assert run(root / "usr/lib/virga/compat/ch-remote", "--version").startswith("ch-remote v")
    run("md5sum", "--quiet", "-c", root / "var/lib/dpkg/info/virga.md5sums", cwd=root)
    assert "install ok installed" in (root / "var/lib/dpkg/status").read_text()
    assert not run("dpkg", f"--root={root}", "--verify", "virga")


def test_the_user_and_the_directories_are_made(root):
    if not shutil.which("systemd-sysusers"):
        pytest.skip("there is no systemd-sysusers here")
    passwd = (root / "etc/passwd").read_text()
    assert re.search(r"^virga:.*:/var/lib/virga:", passwd, re.M)
    assert re.search(r"^kvm:.*:virga$", (root / "etc/group").read_text(), re.M)
    assert (root / "etc/virga").stat().st_mode & 0o7777 == 0o750
    assert (root / "var/lib/virga").is_dir()


def test_systemd_finds_nothing_wrong_with_the_unit(root, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here: install the package systemd")
    unit = tmp_path / "virga@.service"
    shutil.copy(root / UNIT, unit)
    # Its programs are looked for where the package has put them.
    text = unit.read_text().replace("=/usr/bin/virga", f"={root}/usr/bin/virga")
    unit.write_text(text.replace("=-/usr/bin/virga", f"=-{root}/usr/bin/virga"))
    said = run("systemd-analyze", "verify", "--man=no", tmp_path / "virga@web.service")
    assert not [line for line in said.splitlines() if "virga" in line], said
    told = run("systemd-analyze", "security", "--offline=yes", "--no-pager", tmp_path / "virga@web.service")
    exposure = float(re.search(r"Overall exposure level.*?: ([\d.]+)", told).group(1))
    assert exposure <= EXPOSURE_MAX, told


def test_it_goes_and_leaves_what_is_the_users(root):
    (root / "etc/virga/web.conf").write_text("VIRGA_OPTIONS=''\n")
    run(*dpkg(root), "-r", "virga", env=sane())
    assert not (root / "usr").exists() or not [p for p in (root / "usr").rglob("*") if not p.is_dir()]
    assert (root / "etc/virga/web.conf").exists()
    run(*dpkg(root), "-P", "virga", env=sane())
    assert (root / "etc/virga/web.conf").exists()
