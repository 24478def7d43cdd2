"""The self-certification of PWG 5100.20, by files that the user provides: ``make conformance-pwg SELFCERT=DIR``.

DIR is a checkout of github.com/istopwg/ippeveselfcert, or its folder ``tests``.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conformance import ipptool, samples
from tests.listener.dnssd.network import network
from tests.listener.dnssd.test_network import NAME, WAYS, prepared
from tests.listener.printing import RunningPrinter

GIVEN = os.environ.get("SELFCERT", "")
TESTS = {"ipp-tests.test": 41, "document-tests.test": 53}
"""Their numbers in version 1.1 update 4."""
DISCOVERY = dict.fromkeys(("B-1.", "B-2.", "B-3.", "B-4."), "PASS") | dict.fromkeys(
    ("B-5.", "B-5.1", "B-5.2", "B-5.3", "B-5.4", "B-5.5"), "SKIP"
)
"""The tests of dnssd-tests.sh, and how they end."""
RESULT = re.compile(r"^(B-[\d.]+) .*: (?:ipp://\S+\n)?(PASS|FAIL|SKIP)$", re.MULTILINE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files, in which what ipptool 2.4 does not know is said in its words."""
    places = (Path(GIVEN) / "tests", Path(GIVEN))
    source = next((folder for folder in places if (folder / "ipp-tests.test").is_file()), None)
    assert GIVEN and source, "say where the files are: make conformance-pwg SELFCERT=DIR"
    folder = tmp_path_factory.mktemp("selfcert") / "tests"
    shutil.copytree(source, folder)
    for suite in TESTS:
        samples.expand(folder, suite)
    return folder


@pytest.mark.parametrize("suite", TESTS)
def test_the_self_certification_fails_nowhere(printer: RunningPrinter, files: Path, suite: str) -> None:
    """Every test is run and none fails. As a print server (ipp-everywhere-server) it needs no paper taken out."""
    assert ipptool.count(files / suite) == TESTS[suite], "another version of the files: look at what is new"
    document = files / "document-letter.pdf"
    score = ipptool.run(printer.uri, files / suite, version="2.0", document=document)
    print(f"{suite}: {len(score.passed)} passed, {len(score.failed)} failed, {len(score.skipped)} skipped")
    for name in score.skipped:
        print(f"  skipped: {name}")
    assert score.failed == (), score.output
    assert score.run == TESTS[suite]


@pytest.mark.parametrize("way", WAYS)
def test_discovery_fails_nowhere(files: Path, tmp_path: Path, way: str) -> None:
    """From another machine, with Avahi on the printer's and without; what is about TLS is skipped, for the printer
    does not upgrade a connection (TXT "TLS" of ``_ipp._tcp``).
    """
    with network(tmp_path, ["client", "office"]) as machines:
        client, office = machines["client"], machines["office"]
        client.bus()
        client.avahi()
        prepared(office, way)
        office.printer(tmp_path / "state")
        found = client.sees(NAME)
        hosts = tmp_path / "hosts"
        hosts.write_text(f"{found.address} {found.host}\n")
        client.run(f"mount --bind {hosts} /etc/hosts")  # what nss-mdns does
        said = client.run(f"sh -c 'cd {files} && sh dnssd-tests.sh \"{NAME}\"; true'")  # its status is plutil's
    print(said)
    assert dict(RESULT.findall(said)) == DISCOVERY, said
