"""A Debian booted with systemd as its first process, in a container of its own network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support.directories import make_shared_directory
from support.notify import NotifySocket
from support.processes import descendants_of, title_of
from support.waiting import ENDS_WITH_US, PATIENCE_S, WaitError

TREE = Path(__file__).parents[2]
SCRIPTS = TREE / "tests" / "e2e"
CACHE = TREE / ".cache" / "e2e"
_LEADER = "X_NSPAWN_LEADER_PID="


class Machine:
    """The machine from its boot to ``power_off``; what it wrote is in ``directory``."""

    def __init__(self) -> None:
        subprocess.run([SCRIPTS / "make-root.sh", CACHE], check=True)
        self.directory = make_shared_directory("e2e")
        self._notify = NotifySocket(self.directory / "notify")
        self._console = (self.directory / "console.log").open("wb")
        self._host = subprocess.Popen(
            [
                *ENDS_WITH_US,
                "unshare",
                "--mount",
                SCRIPTS / "boot.sh",
                CACHE / "root",
                self.directory,
            ],
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(self._notify.path)},
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
            start_new_session=True,
        )
        try:
            self._wait_booted()
        except BaseException:
            self._pull_the_plug()
            raise

    def _wait_booted(self) -> None:
        """Return when every unit of the default target has started."""
        try:
            self._notify.wait_for("READY=1", sender=self._host.pid)
        except WaitError as error:
            console = (self.directory / "console.log").read_text(errors="replace")
            raise type(error)(f"{error}\n{console}") from None

    @property
    def _leader(self) -> str:
        """The pid, outside, of the machine's first process; the last one announced."""
        announced = [line for line in self._notify.messages if line.startswith(_LEADER)]
        return announced[-1].removeprefix(_LEADER)

    def processes(self, title: str) -> list[int]:
        """Return the pids, outside, of those processes of the machine whose title starts so."""
        everything = descendants_of(int(self._leader))
        return [pid for pid in everything if title_of(pid).startswith(title)]

    def try_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside as root, whatever comes of it."""
        namespaces = ["--root", "--wd", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER="]
        return subprocess.run(
            ["nsenter", "--target", self._leader, *namespaces, "--", *environment, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S * 2,
        )

    def run(self, *command: str) -> str:
        """Run ``command`` inside as root; return its output.

        Raises:
            AssertionError: its exit code is not 0; with the output and the last of the journal.
        """
        result = self.try_run(*command)
        if result.returncode != 0:
            journal = self.try_run("journalctl", "--no-pager", "--lines=60").stdout
            raise AssertionError(
                f"{command} ended with {result.returncode}\n"
                f"{result.stdout}{result.stderr}\n{journal}"
            )
        return result.stdout

    def shell(self, script: str) -> str:
        """Run ``script`` inside as root, as an operator would type it."""
        return self.run("sh", "-euc", script)

    def copy_in(self, source: Path, target: str) -> None:
        """Put a file into the machine, readable for all."""
        script = 'umask 022; mkdir -p "$(dirname "$0")"; cat >"$0"'
        inside = ["nsenter", "--target", self._leader, "--root", "--mount", "--"]
        with source.open("rb") as content:
            subprocess.run([*inside, "sh", "-euc", script, target], stdin=content, check=True)

    def reboot(self) -> None:
        """Reboot; return when it is up again."""
        self.try_run("systemctl", "reboot")
        self._wait_booted()

    def _pull_the_plug(self) -> None:
        """Leave nothing running, whatever state the machine is in."""
        self._host.terminate()
        self._host.wait(PATIENCE_S)
        self._notify.close()
        self._console.close()

    def power_off(self, *, keep: bool) -> None:
        """Switch off; ``keep`` leaves the directory with the console and all that was written."""
        try:
            self.try_run("systemctl", "poweroff")
            assert self._host.wait(PATIENCE_S) == 0
        finally:
            self._pull_the_plug()
        if keep:
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory)
