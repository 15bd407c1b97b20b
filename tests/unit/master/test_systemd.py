"""What the service manager is told. Source: sd_notify(3)."""

import os
import socket

from support.notify import NotifySocket
from udsrv.master.systemd import Notifier


def test_states_are_sent_as_one_datagram(tmp_path):
    manager = NotifySocket(tmp_path / "notify")
    Notifier(str(manager.path)).send("READY=1", "STATUS=serving")
    manager.wait_for("READY=1", sender=os.getpid())
    assert manager.messages == ["READY=1", "STATUS=serving"]
    manager.close()


def test_an_abstract_address_is_written_with_an_at():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0udsrv-test-{os.getpid()}")
        Notifier(f"@udsrv-test-{os.getpid()}").send("STOPPING=1")
        assert manager.recv(100) == b"STOPPING=1"


def test_no_manager_and_a_dead_manager_are_no_errors(tmp_path):
    Notifier(None).send("READY=1")
    Notifier("").send("READY=1")
    Notifier(str(tmp_path / "gone")).send("READY=1")


def test_a_manager_that_does_not_read_blocks_nobody(tmp_path):
    manager = NotifySocket(tmp_path / "notify")
    notifier = Notifier(str(manager.path))
    for _ in range(2000):
        notifier.send("STATUS=x")
    manager.close()
