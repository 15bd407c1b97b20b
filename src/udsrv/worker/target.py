"""Load the application that ``APP`` names.

Runs as: the application's user.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from udsrv.config.target import Target
from udsrv.errors import AppLoadError

Application = Callable[..., Any]


def extend_path(directory: str, pythonpath: Sequence[str]) -> None:
    """Put the application's directories first on the import path, as Gunicorn's users expect."""
    sys.path[:0] = [*pythonpath, directory]


def load(app: str) -> Application:
    """Import the module, find the attribute and call it when ``APP`` says so.

    What that made lives as long as the process does, so no garbage collection looks at it again.

    Raises:
        AppLoadError: anything of that failed (its traceback has been printed), or what was found
            is no WSGI application.
    """
    target = Target.parse(app)
    try:
        found: Any = importlib.import_module(target.module)
        for name in target.attributes:
            found = getattr(found, name)
        if target.call is not None:
            found = found(*target.call.args, **dict(target.call.kwargs))
    except BaseException as error:  # whatever application code raises, SystemExit too
        _print_frames_of_the_application(error)
        raise AppLoadError(f"'{app}' doesn't load: {_summary(error)}") from error
    if not callable(found):
        raise AppLoadError(
            f"'{app}' is {_article(type(found).__name__)}, which is not callable: name the WSGI"
            " application itself, as in 'module:application'"
        )
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(
        getattr(found, "__call__", None)  # noqa: B004 - the method itself is asked for
    ):
        raise AppLoadError(
            f"'{app}' is an ASGI application; this version serves WSGI applications only"
        )
    gc.collect()
    gc.freeze()
    return found  # type: ignore[no-any-return]


def _print_frames_of_the_application(error: BaseException) -> None:
    """Print the traceback without our own frame, if there is any other."""
    own_frame = error.__traceback__
    if own_frame is None or own_frame.tb_next is None:
        return
    with contextlib.suppress(OSError, ValueError):  # it may have closed its standard error
        traceback.print_exception(error.with_traceback(own_frame.tb_next))


def _summary(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _article(name: str) -> str:
    return f"an '{name}'" if name[:1].lower() in "aeiou" else f"a '{name}'"
