# SPDX-License-Identifier: Apache-2.0
"""Count what a run of tests left in its log: prints "passed failed skipped", then a line for each failure.

usage: tally.py FILE      meson's testlog.json, or a junit file of pytest

A unit test program says its functions one a line (TAP); each counts. One that ended without saying all it
had promised counts one failure more.
"""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

STATED = re.compile(r"^\s*(ok|not ok)\b\s*\d*\s*-?\s*(.*)$", re.M)


def of_meson_test(record):
    """(passed, failed, skipped, failures) of one line of testlog.json."""
    name, result = record["name"], record["result"]
    stated = STATED.findall(record.get("stdout") or "")
    skipped = sum("# SKIP" in text for _, text in stated)
    # a function that is skipped is said not to be ok, too
    bad = [f"{name}: {text}" for how, text in stated if how == "not ok" and "# SKIP" not in text]
    passed = sum(how == "ok" and "# SKIP" not in text for how, text in stated)
    if result == "FAIL" and skipped and not bad:
        return passed, 0, skipped, []
    if result in ("OK", "EXPECTEDFAIL"):
        return (passed, 0, skipped, []) if stated else (1, 0, 0, [])
    if result == "SKIP":
        return 0, 0, max(skipped, 1), []
    return passed, len(bad) or 1, skipped, bad or [f"{name}: {result}"]


def of_meson(path):
    with open(path, encoding="utf-8") as f:
        return [of_meson_test(json.loads(line)) for line in f if line.strip()]


def of_junit(path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        kinds = {child.tag: child for child in case}
        if "failure" in kinds or "error" in kinds:
            yield 0, 1, 0, [name]
        elif "skipped" in kinds:
            yield 0, 0, 1, [f"skipped: {name}: {kinds['skipped'].get('message')}"]
        else:
            yield 1, 0, 0, []


def main():
    path = sys.argv[1]
    counts = list(of_junit(path) if path.endswith(".xml") else of_meson(path))
    print(*(sum(c[i] for c in counts) for i in range(3)))
    for count in counts:
        for line in count[3]:
            print(line)


main()
