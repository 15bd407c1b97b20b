"""``python -m udsrv``: for development, and for users other than root.

Runs as: any user but root. Python has read ``.pth`` files, ``PYTHON*`` variables and the working
directory before the first line here, which is why root starts with the launcher ``bin/udsrv``.
"""

from __future__ import annotations

import os
import sys


def _main() -> int:
    if os.geteuid() == 0:
        print(
            "udsrv: as root, start the program 'udsrv' instead of 'python -m udsrv': "
            "Python's start-up files would run as root",
            file=sys.stderr,
        )
        return 77
    from udsrv.cli.main import main

    try:
        start_directory = os.getcwd()
    except FileNotFoundError:
        print("udsrv: the working directory is gone; change to one that exists", file=sys.stderr)
        return 77
    return main(sys.argv[1:], start_directory=start_directory)


if __name__ == "__main__":
    sys.exit(_main())
