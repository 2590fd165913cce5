"""Make the bill of materials: movescu and what it needs, as SPDX 2.3 in JSON, from the packages' own metadata.

    python tools/make_sbom.py FILE

Versions are those of this environment, which are the ones in ``movescu.pyz``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import ROOT, needed, requirements

if TYPE_CHECKING:
    from importlib.metadata import Distribution

NAMESPACE = uuid.UUID("7f1a6a0e-53f0-4ad9-a5a7-3ad6ac2d6f11")
CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: BSD License": "BSD-2-Clause",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}
EXPRESSIONS = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"}


def package(name: str, one: Distribution) -> dict[str, Any]:
    """Return the entry of a package."""
    licence = licence_of(one)
    return {
        "SPDXID": identifier(name),
        "name": name,
        "versionInfo": one.version,
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION" if name == "movescu" else f"https://pypi.org/project/{name}/{one.version}/",
        "filesAnalyzed": False,
        "licenseConcluded": licence,
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "summary": one.metadata["Summary"] or "",
        "primaryPackagePurpose": "APPLICATION" if name == "movescu" else "LIBRARY",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:pypi/{name}@{one.version}",
            }
        ],
    }


def licence_of(one: Distribution) -> str:
    """Return a package's licence as SPDX names it."""
    metadata = one.metadata
    declared = [*(metadata.get_all("License-Expression") or ()), *(metadata.get_all("License") or ()), ""][0]
    if declared in EXPRESSIONS:
        return str(declared)
    found = [CLASSIFIERS[text] for text in metadata.get_all("Classifier") or () if text in CLASSIFIERS]
    return found[0] if found else "NOASSERTION"


def identifier(name: str) -> str:
    """Return the SPDX identifier of a package."""
    return f"SPDXRef-Package-{name}"


def document() -> dict[str, Any]:
    """Return the bill of materials."""
    found = needed()
    packages = [package(name, one) for name, one in found.items()]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", identifier("movescu"))]
    relations += [
        (identifier(name), "DEPENDS_ON", identifier(other.lower()))
        for name, one in found.items()
        for other in requirements(one)
    ]
    digest = hashlib.sha256(json.dumps(packages, sort_keys=True).encode() + (ROOT / "pyproject.toml").read_bytes())
    when = dt.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=dt.UTC)
    version = found["movescu"].version
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"movescu-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/movescu-{version}-{uuid.uuid5(NAMESPACE, digest.hexdigest())}",
        "creationInfo": {"created": f"{when:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: movescu-tools-make_sbom"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(document(), indent=2) + "\n", encoding="utf-8")
    print(sys.argv[1])
