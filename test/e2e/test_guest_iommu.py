# SPDX-License-Identifier: Apache-2.0
"""The virtual IOMMU: devices behind it work through mappings only, and what is unmapped is touched no more.

The tiny guest plays the driver, with every request right and wrong; the attacks on rings come to devices behind it too.
"""
import struct

import pytest

from lib.guest import build, guest, pattern_disk, refuses, start_guest  # noqa: F401 (fixtures)
from test_guest_attack import judged


@pytest.fixture
def disk(work):
    return pattern_disk(f"{work}/disk", 4)


def test_disk_and_card_work_through_mappings(guest, disk, ns, tmp_path, build):
    ns.make_tap("tap0")
    ns.flood("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    report = guest("viommu feed", "--disk", f"path={disk},iommu=on,readonly=on", "--net", "tap=tap0,iommu=on",
                   timeout=120, **build)
    iommu = report.one("IOMMU")
    assert (iommu["pages"], iommu["last"], iommu["bypass"]) == ("201000", "f" * 16, "1")
    assert not int(iommu["offered"], 16) & 1, "INPUT_RANGE with all of 64 bits"


def test_addresses_are_as_wide_as_was_said(guest, disk):
    report = guest("viommu", "--disk", f"path={disk},iommu=on,readonly=on", "--platform", "iommu_address_width=44")
    assert report.one("IOMMU")["last"] == "fffffffffff"


def test_attacks_on_the_iommu_and_behind_it(guest, disk, build):
    judged(guest("attack", "--disk", f"path={disk},readonly=on,iommu=on", "--rng", "src=/dev/urandom,iommu=on",
                 timeout=300, **build), "iommu", "iommu-events", "blk", "rng")


def test_console_and_random_source_behind_it(guest):
    report = guest("rng con", "--rng", "src=/dev/urandom,iommu=on", console="null,iommu=on")
    assert "rng gives other bytes then" in report.passed


def test_segment_for_devices_behind_it(guest, disk):
    args = ["--platform", "num_pci_segments=2,iommu_segments=[1]"]
    report = guest("segments", *args, "--disk", f"path={disk},readonly=on,pci_segment=1,iommu=on")
    assert "1af4:1057" in report.text


def viot(report):
    """(the IOMMU's segment and BDF, [(first endpoint, first and last segment, first and last BDF)])"""
    table = report.table("VIOT")
    count, at = struct.unpack_from("<HH", table, 36)
    nodes, first = [], at
    for _ in range(count):
        kind, length = table[at], struct.unpack_from("<H", table, at + 2)[0]
        nodes.append((kind, table[at + 4:at + length]))
        at += length
    assert at == len(table) and not sum(table) % 256
    (kind, self), *ranges = nodes
    assert kind == 3 and all(kind == 1 and struct.unpack_from("<H", body, 12)[0] == first for kind, body in ranges)
    return struct.unpack_from("<HH", self), [struct.unpack_from("<IHHHH", body) for _, body in ranges]


def test_viot_tells_who_stands_behind_it(guest, disk):
    self, ranges = viot(guest("acpihex", "--platform", "num_pci_segments=3,iommu_segments=[2]",
                              "--disk", f"path={disk},readonly=on", f"path={disk},readonly=on,iommu=on"))
    assert self == (0, 4 << 3)  # behind two disks and the random source
    assert ranges == [(0x20000, 2, 2, 0, 255), (2 << 3, 0, 0, 2 << 3, 2 << 3)]


def test_viot_of_the_first_segment_leaves_out_bridge_and_iommu(guest):
    self, ranges = viot(guest("acpihex", "--platform", "iommu_segments=[0]", "--rng", "src=/dev/urandom,iommu=on"))
    assert self == (0, 2 << 3)
    assert ranges == [(8, 0, 0, 8, 15), (24, 0, 0, 24, 255)]


@pytest.mark.parametrize("args, sentence", [
    (["--platform", "num_pci_segments=2,iommu_segments=[1]", "--disk", "path=/a,pci_segment=1"],
     "PCI segment 1 is behind the virtual IOMMU: say iommu=on"),
    (["--platform", "iommu_segments=[1]"], "PCI segment 1 is out of range"),
    (["--platform", "iommu_address_width=65"], "65 is not within 1 to 64"),
])
def test_places_behind_it_that_are_none_are_refused(refuses, args, sentence):
    refuses(sentence, *args)
