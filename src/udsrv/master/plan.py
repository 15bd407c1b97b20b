"""What the running master is told: plain values, decided before it was exec'd.

Runs as: root. Imports the standard library only.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from udsrv.errors import PrivilegeError
from udsrv.log import Form
from udsrv.privileged.drop import Identity
from udsrv.privileged.listener import ListenerSpec
from udsrv.privileged.spawn import SpawnSpec


@dataclass(frozen=True)
class Plan:
    """Everything that the settings and the system have to say to a running master."""

    listener: ListenerSpec
    supervisor: SpawnSpec  # the places of its channel and of the listener are filled at each start
    start_timeout_s: float
    graceful_timeout_s: float
    may_reload: bool  # whether a supervisor may ask for its successor
    app: str
    ready: str  # what the log says when the application serves
    log_level: int
    form: Form  # of the log's lines
    notify_socket: str | None

    def fds(self) -> set[int]:
        """Return the descriptors that the plan speaks of, the standard streams left out."""
        spec = self.listener
        named = {spec.parent_fd, spec.private_fd, spec.lock_fd, *self.supervisor.fds}
        return {fd for fd in named if fd > 2}

    def write(self) -> int:
        """Return a descriptor from which ``read`` has the plan, open over exec as all it names."""
        plan_fd = os.memfd_create("udsrv-plan", 0)
        with open(plan_fd, "w", closefd=False) as file:
            json.dump(asdict(self), file)
        for fd in self.fds():
            os.set_inheritable(fd, True)
        return plan_fd

    @classmethod
    def read(cls, plan_fd: int) -> Plan:
        """Read a plan, once.

        Raises:
            PrivilegeError: the system refused; ``PATH.d``, which only a plan names, stays.
        """
        try:
            with open(plan_fd) as file:
                file.seek(0)
                data = json.load(file)
        except OSError as error:
            raise PrivilegeError(
                f"the start's own plan can't be read: {error.strerror}; start udsrv again, which"
                " takes over what is left beside the socket"
            ) from error
        spawn, identity = data["supervisor"], data["supervisor"]["identity"]
        spawn["identity"] = identity and Identity(**identity)
        data |= {
            "listener": ListenerSpec(**data["listener"]),
            "supervisor": SpawnSpec(**spawn),
            "form": Form(**data["form"]),
        }
        return cls(**data)
