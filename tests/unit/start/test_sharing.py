"""What an account of others gives the application, as a table."""

import pwd

import pytest

from udsrv.privileged.drop import Identity
from udsrv.start.sharing import SocketFacts, shared


def account(name: str, uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))


NGINX = [account("www-data", 33, 33), account("nginx", 101, 101)]
APP = account("app", 900, 900)
ROOTS = SocketFacts(uid=0, gid=33, group="www-data", mode=0o660)
NGINX_S = "is Nginx's user too"
SOCKET_GROUP_S = "is in the socket's group"
NGINX_GROUP_S = "is in the group of Nginx's user"
OWNER_S = "owns the socket it serves"


@pytest.mark.parametrize(
    ("uid", "groups", "socket", "facts"),
    [
        (900, (900,), ROOTS, []),
        (900, (900, 50), ROOTS, []),
        (33, (33,), ROOTS, [NGINX_S]),
        (101, (900,), ROOTS, [NGINX_S]),
        (900, (900, 33), ROOTS, [SOCKET_GROUP_S]),
        (900, (33,), ROOTS, [SOCKET_GROUP_S]),
        # Nobody connects by a group that may not write.
        (900, (900, 50), SocketFacts(0, 50, "sites", 0o600), []),
        (900, (900, 50), SocketFacts(0, 50, "sites", 0o640), []),
        (900, (900, 50), SocketFacts(0, 50, "sites", 0o620), [SOCKET_GROUP_S]),
        (900, (900, 33), SocketFacts(0, 50, "sites", 0o660), [NGINX_GROUP_S]),
        (900, (900, 33), SocketFacts(0, 33, "www-data", 0o600), [NGINX_GROUP_S]),
        (900, (900, 101), ROOTS, [NGINX_GROUP_S]),
        (900, (900,), SocketFacts(900, 33, "www-data", 0o660), [OWNER_S]),
        (900, (900, 33), SocketFacts(900, 33, "www-data", 0o600), [NGINX_GROUP_S, OWNER_S]),
        (33, (33,), SocketFacts(33, 33, "www-data", 0o660), [NGINX_S, OWNER_S]),
    ],
)
def test_what_is_said(uid, groups, socket, facts):
    found = shared(APP, Identity(uid, groups[0], groups), NGINX, socket)
    assert len(found) == len(facts)
    for sentence, fact in zip(found, facts, strict=True):
        assert fact in sentence
        assert "'app'" in sentence


def test_what_would_work_depends_on_how_it_got_into_the_group():
    (supplementary,) = shared(APP, Identity(900, 900, (33, 900)), NGINX, ROOTS)
    assert supplementary.endswith("take it out with 'gpasswd --delete app www-data'")
    (primary,) = shared(APP, Identity(900, 33, (33,)), NGINX, ROOTS)
    assert primary.endswith(
        "run it in another group, with --group or an account that isn't of 'www-data'"
    )
