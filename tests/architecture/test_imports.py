"""The import rules that a linter of Python files cannot see; the others are in pyproject.toml."""

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "udsrv"
SITE_PACKAGES = sysconfig.get_path("purelib")

# Only these may load what is not Python's own; root runs nothing of them.
MAY_USE_LIBRARIES = {"diagnose", "generate", "supervisor", "worker"}
MAY_LOAD_THE_COMPILED_MODULE = {"sandbox", "supervisor", "worker"}


def modules_outside(areas: set[str]) -> list[Path]:
    """Return the modules that are in none of these folders of the package."""
    modules = sorted(PACKAGE.rglob("*.py"))
    return [path for path in modules if path.relative_to(PACKAGE).parts[0] not in areas]


def imported_by(module: Path) -> Iterator[str]:
    """Yield the full dotted name of everything that ``module`` imports, also inside functions."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def relative(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", modules_outside(MAY_USE_LIBRARIES), ids=relative)
def test_what_root_runs_imports_the_standard_library_only(module):
    foreign = {
        name
        for name in imported_by(module)
        if (top := name.split(".")[0]) != "udsrv" and top not in sys.stdlib_module_names
    }
    assert not foreign


@pytest.mark.parametrize("module", modules_outside(MAY_LOAD_THE_COMPILED_MODULE), ids=relative)
def test_only_what_runs_as_the_app_user_loads_the_compiled_module(module):
    assert not [name for name in imported_by(module) if name.startswith("udsrv._native")]


def loaded_by(*modules: str) -> dict[str, str]:
    """Return what importing these loads, with the files, in an interpreter as udsrv starts its own.

    That is isolated, without site-packages, and only our package can be imported.
    """
    code = f"""
import sys
sys.path.append(sys.argv[1])
import {", ".join(modules)}
for name, module in list(sys.modules.items()):
    print(name, getattr(module, "__file__", None) or "built-in")
"""
    listing = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, SITE_PACKAGES],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split(maxsplit=1) for line in listing.splitlines())


def test_a_starting_master_loads_no_compiled_module_of_ours_and_nothing_foreign():
    loaded = loaded_by("udsrv.cli.main", "udsrv.start.boot")
    from_site_packages = [name for name, file in loaded.items() if SITE_PACKAGES in file]
    assert from_site_packages
    assert all(name.startswith("udsrv") for name in from_site_packages)
    assert "udsrv._native" not in loaded


def test_the_entrance_of_the_sandbox_for_which_every_start_waits_loads_little():
    loaded = loaded_by("udsrv.supervisor.enter", "udsrv.sandbox.entrance")
    assert "udsrv._native" in loaded
    slow = {"dataclasses", "typing", "pathlib", "socket", "udsrv.config", "udsrv.log", "udsrv.ipc"}
    assert not slow & set(loaded)
