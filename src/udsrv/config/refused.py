"""What to do instead of a name that is no setting here.

Loaded only when such a name was given. The flags are Gunicorn's: who migrates gets the way udsrv
does it, in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterable

_TLS = (
    "udsrv opens no network port, so TLS belongs to Nginx: put the certificate into its server "
    "block (udsrv gen-nginx --upstream-only makes the rest)"
)
_FRAMING = "what a request may look like is fixed and strict; leave it out"
_STDERR = "the log goes to stderr: let the journal keep it, or redirect it"
_STATSD = "udsrv sends no metrics; count from Nginx's access log"
_CONTROL = "udsrv makes no control socket; stop it with SIGTERM"
_PARSER = "the parser is udsrv's own, in Rust; leave it out"
_HTTP_2 = "HTTP/2 ends at Nginx: write http2 into its server block"
_DIRTY = "udsrv starts no further processes: run them as a unit of their own, or use a task queue"
_MASTER_HOOK = (
    "root runs no Python of yours: put a command into the unit, as ExecStartPre= or ExecStopPost="
)
_WORKER_HOOK = (
    "put the code into the module that APP names, where each worker loads it, or behind atexit"
)
_REQUEST_HOOK = "wrap the application in a WSGI middleware"
_PROXY_PROTOCOL = "let Nginx read it (listen ... proxy_protocol) and pass the address on in headers"
_HANDS_OFF = "udsrv does it always; leave it out"

_ROWS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("--certfile", "--keyfile", "--ca-certs", "--ciphers", "--cert-reqs", "--ssl-version",
         "--do-handshake-on-connect", "--suppress-ragged-eofs", "--http-protocols"),
        _TLS,
    ),
    (("--bind",), "the setting is called socket and takes the path alone, like /run/app.sock"),
    (("--config",), "name the file on the command line, with --config PATH"),
    (("--reuse-port",), "all workers share one Unix socket, which has no port; leave it out"),
    (
        ("-k", "--worker-class"),
        "udsrv serves WSGI with threads: leave it out and set --threads N",
    ),
    (
        ("--worker-connections",),
        "an idle connection takes no thread, so none are counted; leave it out",
    ),
    (
        ("-t", "--timeout"),
        "set Nginx's proxy_read_timeout for the response; the deadlines here are --start-timeout, "
        "--head-timeout, --body-timeout, --send-timeout and --graceful-timeout",
    ),
    (("--reload-engine",), "--reload asks the kernel, with watchfiles; leave it out"),
    (("--reload-extra-files",), "the setting is called reload_extra_file"),
    (("--check-config",), "use the subcommand: udsrv check"),
    (("--print-config",), "use the subcommand: udsrv print-config"),
    (("--preload-app",), "the setting is called preload"),
    (("--keepalive",), "the setting is called keep_alive"),
    (("--loglevel",), "the setting is called log_level"),
    (("--raw-env",), "the setting is called env"),
    (("--wsgi-app",), "the setting is called app"),
    (("--proc-name", "--default-proc-name"), "the setting is called name"),
    (
        ("-D", "--daemon"),
        "udsrv stays in the foreground: run it as a unit, which udsrv gen-systemd makes",
    ),
    (("-p", "--pid", "--pidfile"), "the unit knows the process: systemctl show -p MainPID NAME"),
    (("--initgroups", "--capture-output", "-R", "--enable-stdio-inheritance"), _HANDS_OFF),
    (("--worker-tmp-dir",), "workers report without files; leave it out"),
    (
        ("--forwarded-allow-ips",),
        "the kernel says who connects: name Nginx's user with --trusted-peer USER",
    ),
    (
        ("--forwarder-headers", "--header-map"),
        "header names with '_' never reach the application; leave it out",
    ),
    (("--secure-scheme-headers",), "X-Forwarded-Proto of a trusted peer is used; leave it out"),
    (("--proxy-protocol", "--proxy-allow-from", "--proxy-allow-ips"), _PROXY_PROTOCOL),
    (("--accesslog",), "the setting is called access_logfile"),
    (
        ("--error-logfile", "--log-file", "--errorlog", "--logger-class", "--log-config",
         "--log-config-json", "--log-config-dict", "--logconfig", "--logconfig-dict",
         "--logconfig-json", "--syslog-addr", "--syslog-prefix", "--syslog-facility",
         "--log-syslog", "--log-syslog-to", "--log-syslog-prefix", "--log-syslog-facility",
         "--syslog", "--disable-redirect-access-to-syslog"),
        _STDERR,
    ),
    (("--statsd-host", "--statsd-prefix", "--dogstatsd-tags", "--enable-backlog-metric"), _STATSD),
    (
        ("--root-path",),
        "the application sees the whole path; mount it below its prefix in its own routes",
    ),
    (
        ("--asgi-loop", "--asgi-lifespan", "--asgi-disconnect-grace-period",
         "--websocket-max-message-size"),
        "udsrv serves WSGI; for an ASGI application give a WSGI entry point",
    ),
    (("--control-socket", "--control-socket-mode", "--no-control-socket",
      "--control-socket-disable"), _CONTROL),
    (
        ("--paste", "--paster", "--paste-global", "--raw-paste-global-conf"),
        "name the WSGI callable itself, like app:app",
    ),
    (("--spew",), "trace in the application: sys.settrace()"),
    (("--no-sendfile", "--sendfile"), "the kernel sends files in wsgi.file_wrapper; leave it out"),
    (("--protocol",), "Nginx speaks HTTP to udsrv: proxy_pass and not uwsgi_pass"),
    (("--uwsgi-allow-from", "--uwsgi-allow-ips"), "Nginx speaks HTTP to udsrv; leave it out"),
    (("--http2-cleartext", "--http2-max-concurrent-streams", "--http2-initial-window-size",
      "--http2-max-frame-size", "--http2-max-header-list-size"), _HTTP_2),
    (("--http-parser",), _PARSER),
    (
        ("--dirty-app", "--dirty-apps", "--dirty-workers", "--dirty-timeout", "--dirty-threads",
         "--dirty-graceful-timeout", "--on-dirty-starting", "--dirty-post-fork",
         "--dirty-worker-init", "--dirty-worker-exit"),
        _DIRTY,
    ),
    (("--tmp-upload-dir",), "Nginx keeps long bodies: set its client_body_temp_path"),
    (
        ("--on-starting", "--on-reload", "--when-ready", "--pre-fork", "--pre-exec", "--child-exit",
         "--nworkers-changed", "--on-exit"),
        _MASTER_HOOK,
    ),
    (
        ("--post-fork", "--post-worker-init", "--worker-int", "--worker-abort", "--worker-exit"),
        _WORKER_HOOK,
    ),
    (("--pre-request", "--post-request"), _REQUEST_HOOK),
    (
        ("--strip-header-spaces", "--permit-obsolete-folding", "--casefold-http-method",
         "--permit-unconventional-http-method", "--permit-unconventional-http-version",
         "--tolerate-dangerous-framing"),
        _FRAMING,
    ),
)  # fmt: skip

_COMMON = {"flag": len("--"), "variable": len("UDSRV_")}

REFUSED = {flag: sentence for flags, sentence in _ROWS for flag in flags}


def instead_of(flag: str, written: str, known: Iterable[str], *, what: str) -> str:
    """Say what to do instead of ``flag``, which the operator spelled ``written``.

    ``what`` is the word for the kind of name that ``known`` lists: flag, variable, setting.
    """
    shown = written if written.isprintable() else repr(written)
    attached = flag[:2] if flag[:1] == "-" and flag[1:2] != "-" else flag
    sentence = REFUSED.get(flag) or REFUSED.get(attached)
    if sentence is None and flag.startswith("--ssl-"):
        sentence = _TLS
    if sentence is None:
        sentence = _other_spelling(flag)
    if sentence is None:
        near = _nearest(written, known, skip=_COMMON.get(what, 0))
        more = f"did you mean {near}?" if near else "udsrv --help lists what there is"
        sentence = f"no such {what}; {more}"
    return f"{shown}: {sentence}"


def _other_spelling(flag: str) -> str | None:
    """Name the setting that takes ``flag`` as another spelling on the command line alone."""
    from udsrv.config.model import SETTINGS

    name = next((setting.name for setting in SETTINGS if flag in setting.hidden), None)
    return f"the setting is called {name}" if name else None


def _nearest(written: str, known: Iterable[str], *, skip: int) -> str | None:
    """Find the name that was probably meant; what all names begin with makes none of them near."""
    import difflib

    by_rest = {name[skip:]: name for name in known}
    near = difflib.get_close_matches(written[skip:], by_rest, n=1)
    return by_rest[near[0]] if near else None
