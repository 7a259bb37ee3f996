# SPDX-License-Identifier: Apache-2.0
"""fw_cfg as a tiny guest finds it: each part, its switch, and files of the user's."""
import pytest

from lib.guest import guest, guest_file, refuses, start_guest, sum8  # noqa: F401 (fixtures)

OURS = {"etc/e820": "e820", "acpi/rsdp": "acpi_table", "acpi/tables": "acpi_table", "etc/table-loader": "acpi_table"}


def items(report):
    """{name: (length, sum of the bytes)}"""
    return {line[0]: tuple(int(f.split("=")[1]) for f in line[2:]) for line in report.all("FWCFG")}


def told(data):
    return len(data), sum8(data)


@pytest.mark.parametrize("kernel", ["guest.elf", "guest.bz"])
def test_kernel_initramfs_and_command_line_are_there_as_given(guest, work, kernel):
    with open(f"{work}/initramfs", "wb") as f:
        f.write(bytes(range(256)) * 400)
    found = items(guest("fwcfg", "--initramfs", f"{work}/initramfs", "--fw-cfg-config", "e820=on", kernel=kernel))
    with open(guest_file(kernel), "rb") as f:
        data = bytearray(f.read())
    setup = 0
    if kernel == "guest.bz":
        setup = (data[0x1f1] + 1) * 512
        data[0x210] = 0xff  # the loader's type: one that is not registered
        assert found["setup"] == told(data[:setup])
    else:
        assert "setup" not in found
    assert found["kernel"] == told(data[setup:])
    assert found["initrd"] == told(bytes(range(256)) * 400)
    assert found["cmdline"] == told(b"fwcfg\0")
    assert set(OURS) <= set(found)


@pytest.mark.parametrize("off", ["kernel", "initramfs", "cmdline", "e820", "acpi_table"])
def test_each_part_can_be_left_out(guest, work, off):
    with open(f"{work}/initramfs", "wb") as f:
        f.write(b"initramfs")
    found = items(guest("fwcfg", "--initramfs", f"{work}/initramfs", "--fw-cfg-config", f"{off}=off"))
    parts = {"kernel": "kernel", "initrd": "initramfs", "cmdline": "cmdline", **OURS}
    assert set(found) == {name for name, switch in parts.items() if switch != off}


def test_files_of_the_user_are_there_by_their_names(guest, work):
    with open(f"{work}/item", "wb") as f:
        f.write(b"x" * 70000)
    name = "opt/" + "n" * 51
    found = items(guest("fwcfg", "--fw-cfg-config",
                        f"items=[name={name},file={work}/item:name=opt/s,string=words of mine]"))
    assert found[name] == told(b"x" * 70000) and found["opt/s"] == told(b"words of mine")


def test_firmware_finds_the_kernel_in_fw_cfg(guest, work):
    with open(f"{work}/kernel", "wb") as f:
        f.write(b"no kernel that could be started")
    found = items(guest("fwcfg", "--firmware", guest_file("guest.elf"), "--fw-cfg-config", "e820=off",
                        kernel=f"{work}/kernel"))
    assert found["kernel"] == told(b"no kernel that could be started")


@pytest.mark.parametrize("config, sentence", [
    ("items=[name=a,file=/dev/null,string=x]", "an item has a file or a string"), ("items=[name=a]", "file or a string"),
    ("items=[name=a,string=x:name=a,string=y]", "there is a 'a' already"),
    ("items=[name=etc/e820,string=x]", "there is a 'etc/e820' already"),
    ("items=[name=a,file=/nonexistent/item]", "/nonexistent/item"), ("items=[string=x]", "name"),
    (f"items=[name={'n' * 56},string=x]", "name"), ("items=[name=a,file=/tmp]", "/tmp: neither a regular file"),
])
def test_bad_items_are_refused_by_name(refuses, config, sentence):
    refuses(sentence, "--fw-cfg-config", config)
