"""The generated files that are kept whole, each with the settings and options it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.settings import make_settings
from udsrv.generate.files import GeneratedFile
from udsrv.generate.nginx import NginxOptions, nginx_files
from udsrv.generate.systemd import SystemdOptions, systemd_files

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
DEPLOY = REPOSITORY / "deploy"
LAUNCHER = "/opt/udsrv/bin/udsrv"


@dataclass(frozen=True)
class Kept:
    """One file of the repository and what the generators say it should hold."""

    path: Path
    generated: GeneratedFile


# The example of docs/deployment.md. The settings are those that these command lines make, which
# tests/golden/test_golden.py checks through the real command line.
EXAMPLE_NGINX = "udsrv gen-nginx --socket /run/app/app.sock --server-name example.com"
EXAMPLE_SYSTEMD = (
    "udsrv gen-systemd --python /srv/app/venv/bin/python --chdir /srv/app "
    "--socket /run/app/app.sock --user app app:app"
)


def _example() -> Iterator[Kept]:
    settings = make_settings(
        app="app:app",
        socket="/run/app/app.sock",
        user="app",
        chdir="/srv/app",
        python="/srv/app/venv/bin/python",
    )
    (site,) = nginx_files(
        settings, NginxOptions(command=EXAMPLE_NGINX, server_names=("example.com",))
    )
    yield Kept(DEPLOY / "nginx" / "app.conf", site)
    unit, account = systemd_files(
        settings, SystemdOptions(command=EXAMPLE_SYSTEMD, launcher=LAUNCHER)
    )
    yield Kept(DEPLOY / "systemd" / "app.service", unit)
    yield Kept(DEPLOY / "systemd" / "sysusers.d" / "app.conf", account)


def _nginx() -> Iterator[Kept]:
    for name, settings, options in (
        (
            "upstream-only",
            make_settings(socket="/run/app/app.sock"),
            NginxOptions(
                command="udsrv gen-nginx --socket /run/app/app.sock --upstream-only",
                upstream_only=True,
            ),
        ),
        (
            "every-number-changed",
            make_settings(
                socket="/tmp/shop.sock",
                name="shop-eu.v2",
                keep_alive="2.5",
                limit_request_body="0",
                limit_request_line="16k",
                limit_request_field_size="1000",
            ),
            NginxOptions(
                command="udsrv gen-nginx --config /etc/udsrv/shop.toml",
                server_names=("shop.example", "*.shop.example", ".example.org", "[::1]"),
                listen=("8080", "127.0.0.1:8081", "[::1]:8082"),
            ),
        ),
        (
            "early-hints",
            make_settings(socket="/run/app/app.sock", early_hints="true"),
            NginxOptions(
                command="udsrv gen-nginx --socket /run/app/app.sock --early-hints "
                "--server-name example.com",
                server_names=("example.com",),
            ),
        ),
        (
            "path-with-spaces",
            make_settings(socket="/srv/my sites/a;b{c}.sock", name="odd"),
            NginxOptions(
                command="udsrv gen-nginx --socket '/srv/my sites/a;b{c}.sock' --name odd",
                server_names=("localhost",),
                listen=("8080",),
            ),
        ),
    ):
        (generated,) = nginx_files(settings, options)
        yield Kept(GOLDEN / "nginx" / f"{name}.conf", generated)


def _systemd() -> Iterator[Kept]:
    for name, settings in (
        ("directly-in-run", make_settings(app="app", socket="/run/app.sock")),
        (
            "from-a-file",
            make_settings(
                from_file={"socket": "/run/shop/shop.sock", "app": "shop:app", "user": "shop"},
                from_environment={"UDSRV_WORKERS": "4"},
                group="shared",
                start_timeout="0.5",
                graceful_timeout="90",
            ),
        ),
        (
            "no-network",
            make_settings(
                app="app",
                socket="/run/app/app.sock",
                network="none",
                write_path=["/var/lib/app", "/srv/up loads"],
                read_path=["/home/shared"],
            ),
        ),
        (
            "this-machine",
            make_settings(app="app", socket="/run/app/app.sock", network="local"),
        ),
        (
            "everything-odd",
            make_settings(
                app="pkg.module:make('50 % off', \"$5\")",
                socket="/var/lib/my sites/app.sock",
                name="odd",
                user="www-data",
                socket_owner="operator",
                chdir="/home/dev/pro ject",
                pythonpath=["/opt/lib a", "/opt/b"],
                env=['GREETING=it\'s 100% $HOME \\ "fine"', "EMPTY="],
                env_file="/etc/odd.env",
                socket_mode="0600",
                trusted_peer=["%www-data", "proxy"],
            ),
        ),
        (
            "access-log",
            make_settings(
                app="app",
                socket="/run/app/app.sock",
                access_logfile="/var/log/app/access.log",
                access_logformat='%(h)s "%(r)s" %({host}i)s 100%%',
            ),
        ),
        (
            "access-log-elsewhere",
            make_settings(
                app="app", socket="/run/app/app.sock", access_logfile="/srv/my logs/a.log"
            ),
        ),
        (
            "credentials",
            make_settings(
                app="app",
                socket="/run/app/app.sock",
                user="app",
                credential=["db.password:/etc/my 100% secrets/db", "secret-key:/etc/app/key"],
            ),
        ),
        ("shared-account", make_settings(app="app", socket="/run/app/app.sock", user="nobody")),
    ):
        options = SystemdOptions(command="udsrv gen-systemd ...", launcher=LAUNCHER)
        unit, *account = systemd_files(settings, options)
        yield Kept(GOLDEN / "systemd" / f"{name}.service", unit)
        for generated in account:
            yield Kept(GOLDEN / "systemd" / "sysusers.d" / f"{name}.conf", generated)


def kept_files() -> list[Kept]:
    """Return every kept file."""
    return [*_example(), *_nginx(), *_systemd()]
