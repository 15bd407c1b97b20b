"""The machine that the end-to-end tests deploy to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Boot a machine of its own for each module of tests, with the built wheel installed in it."""
    machine = Machine()
    failed_before = request.session.testsfailed
    try:
        (wheel,) = (TREE / "dist").glob("udsrv-*.whl")
        machine.copy_in(wheel, f"/root/{wheel.name}")
        machine.shell(
            "python3 -m venv /opt/udsrv;"
            f"/opt/udsrv/bin/pip install --quiet --no-index /root/{wheel.name}"
        )
        yield machine
    finally:
        machine.power_off(keep=request.session.testsfailed > failed_before)
