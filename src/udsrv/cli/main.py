"""The program: a command line in, one exit code out.

Runs as: root or any user. Imports the standard library only, and what a subcommand needs when it
is the one that runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from udsrv.cli import arguments
from udsrv.cli.arguments import Arguments
from udsrv.config.model import Settings
from udsrv.config.resolve import resolve
from udsrv.config.sources import read_file
from udsrv.errors import UdsrvError, UsageError


def main(argv: Sequence[str], *, start_directory: str) -> int:
    """Do what the words of ``argv`` ask for, and return the exit code.

    Relative paths in settings begin at ``start_directory``; the process may be elsewhere.
    """
    try:
        return _run(argv, start_directory)
    except UdsrvError as error:
        print(f"udsrv: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception:
        import traceback

        traceback.print_exc()
        print("udsrv: that is a mistake in udsrv; please report it", file=sys.stderr)
        return 70


def _run(argv: Sequence[str], start_directory: str) -> int:
    if not argv and not any(name.startswith("UDSRV_") for name in os.environ):
        from udsrv.cli.help import SHORT_USAGE

        print(SHORT_USAGE, end="", file=sys.stderr)
        return UsageError.exit_code
    given = arguments.parse(argv)
    if given.help:
        from udsrv.cli.help import help_text

        sys.stdout.write(help_text(given.command))
        sys.stdout.flush()
        return 0
    if given.version:
        from udsrv import __version__

        print(f"udsrv {__version__}", flush=True)
        return 0
    settings = resolve(
        given.values,
        os.environ,
        given.config_path,
        start_directory,
        required=given.command.required,
        read=_reader(),
    )
    return _dispatch(given, settings, start_directory)


def _reader() -> Callable[[str], bytes]:
    """Return what reads the file of settings: root relies on what root alone can have written."""
    if os.geteuid() != 0:
        return read_file
    from udsrv.start.files import read_configuration

    return read_configuration


def _dispatch(given: Arguments, settings: Settings, start_directory: str) -> int:
    command = given.command.name
    if command == "run":
        from udsrv.start.boot import run

        return run(settings)
    if command == "check":
        from udsrv.diagnose.check import check

        return check(settings)
    if command == "audit":
        from udsrv.diagnose.audit.command import audit

        return audit(
            settings, as_json=given.options["--json"], threshold=given.options["--threshold"]
        )
    if command == "print-config":
        from udsrv.cli.print_config import print_config

        return print_config(
            settings, explain=given.options["--explain"], as_json=given.options["--json"]
        )
    from udsrv.cli.generate import generate

    return generate(given, settings, start_directory)
