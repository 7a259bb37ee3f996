# SPDX-License-Identifier: Apache-2.0
"""The tables that firmware leaves in memory: ACPI, SMBIOS, MP table, as the guest finds them."""
import shutil
import subprocess

import pytest

from lib.guest import guest, start_guest  # noqa: F401 (fixtures)


def test_acpi_tables_hang_together(guest):
    names = [line[0] for line in guest("acpi").all("TABLE")]
    assert {"FACP", "APIC", "MCFG", "DSDT"} <= set(names)


def test_fadt_names_reset_and_sleep_registers(guest):
    fadt = guest("acpi").one("FADT")
    # Generic addresses: space 1 (I/O) in the lowest byte, then width, offset and access size.
    assert fadt["reset"] == "1:600" and fadt["value"] == "1"
    flags = int(fadt["flags"], 16)
    assert flags >> 20 & 1, "hardware-reduced"
    assert flags >> 10 & 1, "reset register supported"


@pytest.mark.parametrize("cpus", [1, 3])
def test_madt_lists_every_cpu(guest, cpus):
    report = guest("acpi", cpus=cpus)
    madt = report.one("MADT")
    assert int(madt["cpus"]) == cpus and madt["ioapics"] == "1"
    assert madt["lapic"] == "fee00000"
    assert report.one("IOAPIC")["at"] == "fec00000"


def test_mcfg_covers_one_bus(guest):
    mcfg = guest("acpi").one("MCFG")
    assert mcfg == {"base": "e8000000", "segment": "0", "buses": "0-0"}


def test_bzimage_finds_the_same_tables(guest):
    by_pvh, by_linux = guest("acpi").all("TABLE"), guest("acpi", kernel="guest.bz").all("TABLE")
    assert by_pvh == by_linux


def test_iasl_takes_the_tables_apart_and_together(guest, tmp_path):
    if not shutil.which("iasl"):
        pytest.skip("iasl is not installed (package acpica-tools)")
    tables = guest("acpihex", cpus=2).tables()
    assert tables
    for data in tables:
        name = data[:4].decode()
        (tmp_path / f"{name}.dat").write_bytes(data)
        for step in (["-d", f"{name}.dat"], ["-tc" if name == "DSDT" else "-sc", f"{name}.dsl"]):
            done = subprocess.run(["iasl", *step], cwd=tmp_path, text=True, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0, f"iasl {' '.join(step)}: {done.stdout[-3000:]}"
            assert " 0 Errors" in done.stdout or "Error" not in done.stdout, done.stdout[-3000:]


def test_smbios_is_found_at_f0000_and_names_the_machine(guest):
    report = guest("smbios", "--platform", "system_serial_number=S-42,oem_strings=[one,two]")
    lines = report.all("SMBIOS")
    assert lines[0][0] == "entry=f0000"
    types = [int(line[1]) for line in lines if line[0] == "type"]
    assert {0, 1, 127} <= set(types) and types[-1] == 127
    strings = [" ".join(line[1:]) for line in lines if line[0] == "string"]
    assert {"S-42", "one", "two"} <= set(strings)
    assert ["virtual=1"] in lines


def test_smbios_carries_the_uuid(guest):
    report = guest("smbios", "--platform", "system_uuid=00112233-4455-6677-8899-aabbccddeeff")
    [uuid] = [line[0] for line in report.all("SMBIOS") if line[0].startswith("uuid=")]
    # The first three fields are little-endian in memory (SMBIOS 3 §7.2.1).
    assert uuid == "uuid=6677445500112233-ffeeddccbbaa9988"


@pytest.mark.parametrize("cpus", [1, 4])
def test_mp_table_lists_every_cpu(guest, cpus):
    mp = guest("mptable", cpus=cpus).one("MPTABLE")
    assert int(mp["cpus"]) == cpus and mp["ioapics"] == "1" and mp["lapic"] == "fee00000"
    assert int(mp["lines"]) >= 16


def test_methods_of_hot_plug_can_be_carried_out(guest, tmp_path):
    if not shutil.which("acpiexec"):
        pytest.skip("acpiexec is not installed (package acpica-tools)")
    report = guest("acpihex", cpus="boot=1,max=3", memory="128M,hotplug_size=1G")
    (tmp_path / "dsdt.dat").write_bytes(report.table("DSDT"))
    # Memory is simulated and reads as zeros, but for what was written.
    done = subprocess.run(["acpiexec", "-b", "execute \\_SB.PHPR.PSCN; execute \\_SB.PC00.S006._EJ0 1;"
                           "execute \\_SB.PC00.DVNT 0x42 1;execute \\_SB.GED_._EVT 13;"
                           "execute \\_SB.CPUS.CSCN;execute \\_SB.CPUS.CTFY 2 3;execute \\_SB.CPUS.C002._EJ0 1;"
                           "execute \\_SB.CPUS.C001._STA;execute \\_SB.CPUS.C001._MAT;"
                           "execute \\_SB.MHPC.MSCN;execute \\_SB.MHPC.MTFY 7 1;execute \\_SB.MHPC.M001._CRS;"
                           "execute \\_SB.MHPC.M000._STA;execute \\_SB.VGEN.VGNT;execute \\_SB.VGEN.ADDR", "dsdt.dat"],
                          cwd=tmp_path, text=True, timeout=60, input="",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "AE_" not in done.stdout, done.stdout[-3000:]
    told = [line for line in done.stdout.splitlines() if "Notify" in line]
    assert any("C002" in line for line in told) and any("M007" in line for line in told), done.stdout[-3000:]
    assert any("S001" in line for line in told) and any("S006" in line for line in told), done.stdout[-3000:]
