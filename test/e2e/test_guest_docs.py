# SPDX-License-Identifier: Apache-2.0
"""What README.md and docs/*.md tell people to type is typed; see docs/testing.md, "Documents"."""
import shlex
import socket

import pytest

from lib.docs import COMMAND, WRAPPER, fences, fences_of, pages, pages_with, run_page
from lib.guest import guest_file
from lib.virga import PATIENCE, binary


@pytest.fixture
def kernels(work):
    initramfs = f"{work}/initramfs"
    with open(initramfs, "wb") as f:
        f.write(bytes(range(256)) * 64)
    return {"vmlinux": guest_file("guest.elf"), "vmlinuz": guest_file("guest.bz"), "initrd.img": initramfs}


@pytest.mark.parametrize("name", pages())
def test_every_fence_of_commands_says_how_it_is_run(name):
    wrong = [f"{name}:{f.line}: {f.wrong}" for f in fences(name) if f.wrong]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", pages_with("native"))
def test_commands_of_a_page_do_what_it_says(here, work, kernels, name):
    run_page(here, work, name, "native", kernels, binary(), 60 * PATIENCE)


def test_commands_that_need_a_network_work_with_one(here, kernels):
    for name in pages_with("network"):
        try:
            socket.getaddrinfo("deb.debian.org", 80)
        except OSError as e:
            pytest.skip(f"there is no network here: {e}")
        work = here.temp_dir()
        try:
            run_page(here, work, name, "network", kernels, binary(), 120 * PATIENCE)
        finally:
            here.drop_dir(work)


def test_example_of_the_help_works(here, work, kernels):
    text = here.run(f"{binary()} --help").output
    example = text.split("\nExample:\n", 1)[1].replace("\\\n", " ").replace("tap=tap0", "tap=")
    words = shlex.split(example)
    kernel = words.index("--kernel") + 1
    words[kernel] = kernels["vmlinux"]
    here.run(f"truncate -s 1M {work}/disk.raw")
    run = f"cd {work} && unshare --net {shlex.join([binary(), *words[1:]])} < /dev/null"
    assert here.run(run).status == 0


@pytest.mark.parametrize("info,text,wrong", [
    ("sh", "ls", "does not say how"),
    ("", "./dev build", "looks like a command"),
    ("text", "out/bin/virga --kernel x", "looks like a command"),
    ("bash native", "ls", "say sh"),
    ("sh shown", "ls", "no reason"),
    ("sh shown: why", "ls", "no reason"),
    ("sh by test/e2e/nothing.py::test_x", "ls", "there is no test"),
    ("sh native often", "ls", "no way to run"),
    ("sh native", "ls", ""),
    ("sh rig background", "ls", ""),
    ("sh shown: it takes your machine down", "ls", ""),
    ("python", "print('virga')", ""),
    ("", "virga   one   thread", ""),
])
def test_fence_that_nobody_would_run_is_refused(info, text, wrong):
    fence, = fences_of("page", f"```{info}\n{text}\n```\n")
    assert wrong in fence.wrong and bool(wrong) == bool(fence.wrong)


def test_indented_commands_and_stray_comments_are_refused():
    assert fences_of("page", "text\n\n    ./dev build\n")[0].wrong
    assert fences_of("page", "<!-- before: ls -->\ntext\n")[0].wrong
    assert fences_of("page", "```sh native\nls\n")[0].wrong == "has no end"
    assert fences_of("page", "Say `virga --kernel k --disk path=d` then.\n")[0].wrong
    assert not fences_of("page", "`virga --help` tells all; so does `--kernel`.\n")


def test_comments_above_a_fence_are_its_own():
    fence, = fences_of("page", "<!-- before: ls -->\n<!-- guest: park -->\n<!-- expect: a.b -->\n```sh native\nx\n```\n")
    assert (fence.before, fence.guest, fence.expect) == (["ls"], "park", ["a.b"])


@pytest.mark.parametrize("line,is_one", [
    ("virga --help", True), ("  out/bin/virga \\", True), ("$ sudo virga -v", True), ("./dev test", True),
    ("cloud-hypervisor --kernel x", True), ("virga: 0.012s: <vcpu0>", False), ("`virga`  1", False),
])
def test_commands_are_known_by_their_look(line, is_one):
    assert bool(COMMAND.match(line)) == is_one


def test_words_for_the_guest_go_behind_what_the_page_shows(here, work):
    here.put(f"{work}/virga", WRAPPER)
    here.put(f"{work}/tell", '#!/bin/sh\nprintf "%s|" "$@"\n')
    here.run(f"chmod +x {work}/virga {work}/tell")
    run = f"DOC_VIRGA={work}/tell DOC_WORDS='park it' {work}/virga"
    assert here.run(f"{run} --kernel k --cmdline 'a b' -v").output == "--kernel|k|--cmdline|a b park it|-v|"
    assert here.run(f"{run} --kernel k").output == "--kernel|k|--cmdline|park it|"
    assert here.run(f"{run} --version").output == "--version|"
