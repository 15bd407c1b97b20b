"""Run a part of udsrv in a fresh interpreter.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import os

import udsrv
from udsrv.errors import ConfigError

PACKAGE = os.path.dirname(os.path.abspath(udsrv.__file__))

# The environment may have its own udsrv, or none: then the package of whoever starts it is used,
# and nothing else of that one's environment can be imported.
_BOOT = """\
import sys
try:
    import udsrv
except ModuleNotFoundError:
    from importlib import util
    spec = util.spec_from_file_location(
        "udsrv", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
    udsrv = sys.modules["udsrv"] = util.module_from_spec(spec)
    spec.loader.exec_module(udsrv)
try:
    from udsrv.{tier} import main
except ImportError as error:
    sys.exit(print("udsrv:", sys.executable, "has another udsrv (%s): install the same version in"
        " both environments" % error, file=sys.stderr) or {code})
main()
"""

# Room for the longest title in the argument area (see udsrv.title).
_TITLE_ROOM = "-" * 256


def command(python: str, *options: str, tier: str) -> list[str]:
    """Return the command line that runs ``main`` of the module ``tier``; a number may follow it."""
    code = _BOOT.format(tier=tier, code=ConfigError.exit_code)
    return [python, *options, "-c", code, PACKAGE, _TITLE_ROOM]
