"""docs/known-attacks.md names proofs that exist, and every attack that succeeds somewhere."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from apps.attacker.registry import ATTACKS, Means
from udsrv.diagnose.audit.attacks import REFUSED_SINCE, succeeding

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "known-attacks.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if re.match(r"\| `", line)
]


@functools.cache
def functions_of(path: Path) -> set[str]:
    if path.suffix != ".py":
        return set()
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_attack_has_a_short_name_of_its_own():
    names = [row[0] for row in ROWS]
    assert len(names) > 40
    assert len(set(names)) == len(names)
    assert not [name for name in names if not re.fullmatch(r"`[a-z]+(-[a-z]+)*`", name)]


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("`") for row in ROWS])
def test_a_proof_exists(row):
    name, _, _, proofs = row
    named = re.findall(r"`([^`]+)`", proofs)
    assert named, name
    for proof in named:
        path, _, function = proof.partition("::")
        assert (ROOT / path).exists(), proof
        assert not function or function in functions_of(ROOT / path), proof


def listed(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def attacks_that(*means: Means) -> set[str]:
    """Name the attacks that nothing else refuses."""
    return {name for name, attack in ATTACKS.items() if attack.means == {*means}}


@pytest.mark.parametrize("abi", [3, 4, 6, 9])
def test_what_an_older_kernel_lets_succeed_is_listed(abi):
    (row,) = re.findall(rf"^\| Landlock ABI {abi}, [^|]+\| (.*) \|$", TEXT, re.MULTILINE)
    assert listed(row) == attacks_that(Means[f"LANDLOCK_{abi}"])


def test_what_an_older_kernel_lets_succeed_is_what_the_audit_prints():
    by_abi = {abi: set(names) for abi, names in REFUSED_SINCE.items()}
    assert {f"`{name}`" for name in by_abi.pop(1)} < {row[0] for row in ROWS}
    assert by_abi == {abi: attacks_that(Means[f"LANDLOCK_{abi}"]) for abi in (3, 4, 6, 9)}
    assert set(succeeding(2)) == set().union(*by_abi.values())
    assert succeeding(9) == ()


def test_what_nothing_refuses_is_listed():
    (section,) = re.findall(
        r"^## What nothing refuses\n\n(.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL
    )
    assert listed(section) == attacks_that(Means.NOTHING)
