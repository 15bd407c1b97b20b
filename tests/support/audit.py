"""Run ``udsrv audit`` and read what it says."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from support.servers import UDSRV, credentials_of

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text())


@dataclass(frozen=True)
class Audit:
    """One run: its exit code and its document, which fits the schema."""

    code: int
    document: dict[str, Any]

    @property
    def failed(self) -> set[str]:
        """The checks that failed."""
        return {each["check"] for each in self.document["findings"] if each["verdict"] == "fail"}

    def finding(self, check: str, subject: str = "", *, words: str = "") -> dict[str, Any]:
        """Return the one finding of this check that has these parts of its subject and its fact."""
        (found,) = (
            each
            for each in self.document["findings"]
            if each["check"] == check and subject in each["subject"] and words in each["fact"]
        )
        return dict(found)

    def processes(self, role: str) -> list[dict[str, Any]]:
        """Return the processes of one role, the oldest first."""
        return [each for each in self.document["processes"] if each["role"] == role]


def run_audit(*options: object, user: str = "root") -> subprocess.CompletedProcess[str]:
    """Run it to its end, whatever it says."""
    return subprocess.run(
        [UDSRV, "audit", *map(str, options)],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **credentials_of(user),  # type: ignore[call-overload]
    )


def audit(socket: Path, *options: object, user: str = "root") -> Audit:
    """Return what it says of the server at ``socket``."""
    result = run_audit("--socket", socket, "--json", *options, user=user)
    assert result.stderr == ""
    document = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA, jsonschema.Draft202012Validator)
    assert result.returncode == (0 if document["passed"] else 1)
    return Audit(result.returncode, document)


def mend(remedy: str) -> None:
    """Do what a finding says, as a person would who pastes it."""
    subprocess.run(["sh", "-c", remedy], check=True, capture_output=True)
