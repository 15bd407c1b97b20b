"""Settings as the command line would have made them."""

from __future__ import annotations

from collections.abc import Mapping

from udsrv.config.model import BY_NAME, Settings
from udsrv.config.resolve import resolve
from udsrv.config.sources import Given

CONFIG_PATH = "/etc/udsrv/app.toml"


def make_settings(
    *,
    from_file: Mapping[str, object] | None = None,
    from_environment: Mapping[str, str] | None = None,
    start_directory: str = "/srv/app",
    **raw: object,
) -> Settings:
    """Return settings in which each keyword was given as a flag, and the rest are defaults.

    ``from_file`` is what a file at `CONFIG_PATH` would say; no file is read.
    """
    given = {name: Given(value, CONFIG_PATH) for name, value in (from_file or {}).items()}
    given |= {name: Given(value, BY_NAME[name].flag) for name, value in raw.items()}
    return resolve(given, from_environment or {}, None, start_directory, required=())
