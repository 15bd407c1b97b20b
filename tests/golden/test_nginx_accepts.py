"""Generated nginx configuration in the hands of nginx itself, gixy and crossplane."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import crossplane
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden.cases import REPOSITORY, kept_files
from support import nginx
from support.settings import make_settings
from udsrv.generate.nginx import NginxOptions, nginx_files
from udsrv.generate.quoting import nginx_literal

CONFIGS = [kept for kept in kept_files() if kept.path.parent.name == "nginx"]
IDS = [str(kept.path.relative_to(REPOSITORY)) for kept in CONFIGS]
TEXTS = [kept.generated.text for kept in CONFIGS]

# What settings and nginx_literal() accept: no `$`, nothing that can't be printed.
LITERALS = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"), exclude_characters="$"),
    max_size=60,
).filter(str.isprintable)
SOME = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("program", [nginx.NGINX, nginx.MAINLINE], ids=["packaged", "mainline"])
@pytest.mark.parametrize("text", TEXTS, ids=IDS)
def test_nginx_accepts_it_in_its_http_block_without_a_warning(
    text: str, program: str, tmp_path: Path
):
    # nginx -t binds what it is to listen on, and port 80 takes root.
    result = nginx.check(tmp_path, text.replace("listen 80;", "listen 8080;"), program=program)
    if nginx.version_of(program) >= oldest_that(text):
        assert (result.returncode, warnings_in(result.stderr)) == (0, [])
    else:
        assert result.returncode == 1
        assert "unknown directive" in result.stderr


def test_two_applications_live_in_one_nginx(tmp_path: Path):
    both = "".join(config_for(f"/run/{name}/{name}.sock", name=name) for name in ("a", "b"))
    result = nginx.check(tmp_path, both)
    assert (result.returncode, warnings_in(result.stderr)) == (0, [])


def test_names_that_become_the_same_name_in_nginx_are_refused_by_it(tmp_path: Path):
    # Maps of the same name would be accepted silently, the later one for both applications.
    both = "".join(config_for("/run/a/a.sock", name=name) for name in ("a-b", "a.b"))
    result = nginx.check(tmp_path, both)
    assert result.returncode == 1
    assert 'duplicate upstream "udsrv_a_b"' in result.stderr


@pytest.mark.parametrize("text", TEXTS, ids=IDS)
def test_gixy_finds_nothing(text: str, tmp_path: Path):
    path = tmp_path / "app.conf"
    path.write_text(text)
    gixy = Path(sys.executable).with_name("gixy")
    result = subprocess.run([gixy, path], capture_output=True, text=True, check=False)
    # A line on stderr is a part of the file that gixy has not understood and not looked at.
    assert (result.returncode, result.stderr) == (0, "")
    assert "No issues found." in result.stdout


@SOME
@given(LITERALS)
def test_nginx_reads_a_literal_back_as_it_was(tmp_path: Path, text: str):
    if text in ("on", "off"):
        return
    config = tmp_path / "one-word.conf"
    config.write_text(f"daemon {nginx_literal(text)};\n")
    result = subprocess.run(
        [nginx.NGINX, "-t", "-e", "stderr", "-p", tmp_path, "-c", config],
        capture_output=True,
        check=False,
    )
    said = result.stderr.decode()
    found = re.search(r'invalid value "(.*)" in "daemon" directive, it must be', said)
    assert found, said
    assert found[1] == text


@SOME
@given(LITERALS)
def test_no_socket_path_changes_the_structure(tmp_path: Path, name: str):
    path = f"/run/app/{name.replace('/', '_')[:20]}x"
    expected = parsed(tmp_path, config_for("/run/app/app.sock"))
    got = parsed(tmp_path, config_for(path))
    assert skeleton(got) == skeleton(expected)
    (upstream,) = [block for block in got if block["directive"] == "upstream"]
    (server,) = [line for line in upstream["block"] if line["directive"] == "server"]
    # crossplane takes the backslash off a quote, and leaves two where nginx makes one of them.
    assert server["args"][0].replace("\\\\", "\\") == f"unix:{path}"


def config_for(socket: str, *, name: str = "app") -> str:
    options = NginxOptions(
        command="udsrv gen-nginx", server_names=(f"{name}.example",), listen=("8080",)
    )
    return nginx_files(make_settings(socket=socket, name=name), options)[0].text


def oldest_that(text: str) -> tuple[int, ...]:
    """Return the version of nginx that the file says it needs."""
    found = re.search(r"^# Needs nginx (\d+)\.(\d+)\.(\d+) or newer", text, re.MULTILINE)
    assert found, text
    return tuple(int(number) for number in found.groups())


def warnings_in(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if re.search(r"\[(warn|error|emerg)\]", line)]


def parsed(directory: Path, text: str) -> list[dict[str, Any]]:
    path = directory / "parsed.conf"
    path.write_text(text)
    payload = crossplane.parse(str(path), single=True, check_ctx=False)
    assert payload["status"] == "ok", payload["errors"]
    result: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return result


def skeleton(blocks: list[dict[str, Any]]) -> list[Any]:
    return [(b["directive"], len(b["args"]), skeleton(b.get("block", []))) for b in blocks]
