"""The stub of the compiled module names exactly what the module has."""

import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).parents[2]


def test_stub_and_compiled_module_agree(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "udsrv._native"],
        cwd=TREE,
        env={"MYPY_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
