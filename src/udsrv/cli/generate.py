"""Run a generator, and print or write what it returns.

Runs as: any user. Loaded only by ``gen-nginx`` and ``gen-systemd``.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from udsrv.cli.arguments import Arguments
from udsrv.config.model import DEFAULT, SETTINGS, Settings
from udsrv.config.values import absolute
from udsrv.errors import PrivilegeError, UsageError
from udsrv.generate.files import GeneratedFile

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def generate(given: Arguments, settings: Settings, start_directory: str) -> int:
    """Print the main file, or write all of them below ``--output``."""
    files = _files(given, settings, start_directory)
    output = str(given.options["--output"])
    if output:
        for line in write_files(absolute(output, start_directory), files):
            print(line)
        return 0
    sys.stdout.write(files[0].text)
    sys.stdout.flush()
    for other in files[1:]:
        print(
            f"udsrv: also needed: {other.path}; --output DIR writes all files, "
            "each at its place below DIR",
            file=sys.stderr,
        )
    return 0


def _files(given: Arguments, settings: Settings, start_directory: str) -> tuple[GeneratedFile, ...]:
    command = command_line(given, settings, start_directory)
    if given.command.name == "gen-nginx":
        from udsrv.generate.nginx import NginxOptions, nginx_files

        return nginx_files(
            settings,
            NginxOptions(
                command=command,
                server_names=given.options["--server-name"],
                listen=given.options["--listen"],
                upstream_only=given.options["--upstream-only"],
            ),
        )
    from udsrv.generate.systemd import SystemdOptions, systemd_files

    launcher = os.path.join(os.path.dirname(sys.executable), "udsrv")
    return systemd_files(settings, SystemdOptions(command=command, launcher=launcher))


def command_line(given: Arguments, settings: Settings, start_directory: str) -> str:
    """Write the command that makes the same files again, from any directory.

    What the file says stays there; what came from variables is spelled out. Nginx's file does not
    depend on the application's environment, which may hold secrets.
    """
    command = given.command.name
    words = ["udsrv", command]
    path = given.config_path and absolute(given.config_path, start_directory)
    if path:
        words += ["--config", path]
    last: list[str] = []
    for setting in SETTINGS:
        origin = settings.origin(setting.name)
        named = origin not in (DEFAULT, path) or (
            # The one default that depends on where the command was typed.
            setting.name == "chdir" and origin == DEFAULT and command == "gen-systemd"
        )
        if not named or (setting.name == "env" and command == "gen-nginx"):
            continue
        shown = setting.show(getattr(settings, setting.name))
        texts = [str(each) for each in (shown if isinstance(shown, list) else [shown])]
        if setting.name == "app":
            last = texts
        elif isinstance(shown, bool):
            words.append(setting.flag if shown else str(setting.negative))
        else:
            words += [word for text in texts or [""] for word in _flag(setting.flag, text)]
    for option in given.command.options:
        value = given.options[option.flag]
        if option.flag == "--output" or value in (option.default, (option.default,)):
            continue
        if option.switch:
            words += [option.flag] if value else []
        else:
            words += [word for text in value for word in _flag(option.flag, text)]
    return " ".join(_quote(word) for word in words + last)


def _flag(flag: str, text: str) -> list[str]:
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _quote(word: str) -> str:
    """Quote for a shell, on one line whatever the word holds: it becomes part of a comment."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = (
        c if c.isprintable() and c not in "\\'" else "".join(f"\\x{b:02x}" for b in c.encode())
        for c in word
    )
    return f"$'{''.join(escaped)}'"


def write_files(directory: str, files: Sequence[GeneratedFile]) -> list[str]:
    """Write each file at its place below ``directory`` and say what was done.

    No symbolic link is followed below ``directory``, and a file is complete or not there.

    Raises:
        UsageError: something that is not a regular file stands where one belongs.
        PrivilegeError: the system refused.
    """
    done = []
    for file in files:
        place = directory.rstrip("/") + file.path
        try:
            with ExitStack() as stack:
                parent_fd = _open_parent(stack, directory, file.path)
                changed = _replace(parent_fd, place, file.text.encode())
        except OSError as error:
            raise PrivilegeError(f"{place}: cannot be written: {error.strerror}") from error
        done.append(f"{'wrote' if changed else 'unchanged'} {place}")
    return done


def _open_parent(stack: ExitStack, directory: str, path: str) -> int:
    """Open, and make where missing, the directories between ``directory`` and ``path``."""
    os.makedirs(directory, exist_ok=True)
    parent_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, parent_fd)
    here = directory.rstrip("/")
    for name in os.path.dirname(path).strip("/").split("/"):
        here += f"/{name}"
        try:
            os.mkdir(name, 0o755, dir_fd=parent_fd)
        except FileExistsError:
            if stat.S_ISLNK(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                raise UsageError(
                    f"--output: {here} is a symbolic link; name another directory"
                ) from None
        parent_fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
        stack.callback(os.close, parent_fd)
    return parent_fd


def _replace(parent_fd: int, place: str, text: bytes) -> bool:
    """Put ``text`` at ``place`` by rename; return False when it stands there already."""
    name = os.path.basename(place)
    try:
        found = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
            raise UsageError(f"--output: {place} is {kind}; remove it, or name another directory")
        file_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        with open(file_fd, "rb") as file:
            if file.read() == text:
                return False
    staged = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file_fd = os.open(staged, flags, 0o644, dir_fd=parent_fd)
    try:
        with open(file_fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file_fd)
        os.rename(staged, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
    except BaseException:
        os.unlink(staged, dir_fd=parent_fd)
        raise
    return True
