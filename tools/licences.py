"""The licences of what the product is made of: listed in docs/licences.md, and only those that are allowed here.

One rule: what a package says of itself counts, in the order of PEP 639: License-Expression, classifiers, License. Where
it says nothing that is SPDX, :data:`READ` has what somebody read in its files. ``--write`` writes the page, else it is
compared; run by ``make check`` with the Python that has the packages of requirements/.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
LOCKS = tuple(ROOT / "requirements" / f"{name}.txt" for name in ("runtime", "cups"))
FRONT = ROOT / "package-lock.json"

ALLOWED: Mapping[str, str] = {
    "0BSD": "permissive",
    "Apache-2.0": "permissive",
    "BSD-2-Clause": "permissive",
    "BSD-3-Clause": "permissive",
    "ISC": "permissive",
    "MIT": "permissive",
    "MIT-0": "permissive",
    "MIT-CMU": "permissive",
    "PSF-2.0": "permissive",
    "Unlicense": "permissive",
    "MPL-2.0": "used unchanged; its terms reach its own files only",
    "GPL-2.0-or-later": "pycups, for `queue` alone; Debian’s own package, not part of ours. Who hands on both together "
    "keeps to GPL-3.0, which takes Apache-2.0 in",
    "LGPL-2.1-or-later": "imported when the program runs, and can be replaced by its user",
    "LGPL-3.0-only": "imported when the program runs, and can be replaced by its user",
}
"""Licences under which a package may be part of the product (SPDX), and why."""

WORDS: Mapping[str, str] = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "GPLv2+": "GPL-2.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""What packages say instead of SPDX. "BSD License" is not here: it does not say which."""

READ: Mapping[str, str] = {
    "jinja2": "BSD-3-Clause",  # LICENSE.txt
    "pypdfium2": "BSD-3-Clause AND Apache-2.0",  # "BSD-3-Clause, Apache-2.0, dependency licenses"
    "pyrage": "MIT",  # licenses/LICENSE
    "reportlab": "BSD-3-Clause",  # "BSD license (see license.txt for details)"
}

HEAD = """# Licences

Invoice Printer is under Apache-2.0 ([LICENSE](../LICENSE)). This page is written by `tools/licences.py` and compared by
`make check`, which refuses a package under any other licence than those of the first table. Programs are started and
never linked: Ghostscript (AGPL-3.0), CUPS (Apache-2.0).
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A package of the product and its licence, as an SPDX expression; empty when it could not be told."""

    name: str
    licence: str


def python_packages(lock: str) -> Iterator[Part]:
    """The packages of a requirements file with hashes, as they are installed here."""
    for name in re.findall(r"^([A-Za-z0-9][\w.-]*)==", lock, re.MULTILINE):
        yield Part(name, READ.get(name) or stated(importlib.metadata.metadata(name)))


def stated(metadata: importlib.metadata.PackageMetadata) -> str:
    """What a package says of itself, as SPDX; empty when it says nothing that is."""
    classifiers = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier") or () if "License ::" in one]
    known = [WORDS[one] for one in classifiers if one in WORDS]
    expression, word = (next(iter(metadata.get_all(key) or ()), "") for key in ("License-Expression", "License"))
    single = WORDS.get(word, word if word in ALLOWED else "")
    return expression or single or " OR ".join(sorted(known))


def front_packages(lock: str) -> Iterator[Part]:
    """The npm packages whose files the pages load, by package-lock.json."""
    for place, package in json.loads(lock)["packages"].items():
        if place and not package.get("dev"):
            yield Part(place.removeprefix("node_modules/"), package.get("license", ""))


def is_allowed(licence: str) -> bool:
    """Whether an SPDX expression of AND, OR and names can be kept to: one side of each OR is enough."""
    return any(all(name.strip() in ALLOWED for name in way.split(" AND ")) for way in licence.split(" OR "))


def page(packages: list[Part]) -> str:
    """The text of docs/licences.md."""
    used = {name for part in packages for name in re.findall(r"[\w.-]+", part.licence)}
    allowed = [f"| {name} | {why} |" for name, why in ALLOWED.items() if name in used]
    rows = [f"| {part.name} | {part.licence} |" for part in packages]
    tables = (["| Licence | Why |", "| --- | --- |", *allowed], ["| Package | Licence |", "| --- | --- |", *rows])
    return "\n".join([HEAD, *tables[0], "", *tables[1], ""])


def main(words: list[str]) -> int:
    """0 when every licence is allowed and the page is as it should be."""
    packages = [
        *(part for lock in LOCKS for part in python_packages(lock.read_text("utf-8"))),
        *front_packages(FRONT.read_text("utf-8")),
    ]
    refused = [part for part in packages if not is_allowed(part.licence)]
    for part in refused:
        print(f"{part.name}: {part.licence or 'no licence that is known'}; not allowed in tools/licences.py")
    if "--write" in words and not refused:
        PAGE.write_text(page(packages), "utf-8")
    differs = not PAGE.exists() or PAGE.read_text("utf-8") != page(packages)
    if differs:
        print("docs/licences.md is not what is installed: python tools/licences.py --write")
    print(f"licences: {len(packages)} packages, {len(refused)} refused")
    return 1 if refused or differs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
