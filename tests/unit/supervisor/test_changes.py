"""Which changes can change what the application does."""

import pytest

from udsrv.supervisor.changes import counts


@pytest.mark.parametrize(
    ("path", "does"),
    [
        ("/srv/app/site.py", True),
        ("/srv/app/deep/er/site.py", True),
        ("/srv/app/fast.cpython-311-x86_64-linux-gnu.so", True),
        ("/srv/app/fast.pyx", True),
        ("/srv/app/__pycache__/site.cpython-311.pyc", False),
        ("/srv/app/site.py.swp", False),
        ("/srv/app/site.py~", False),
        ("/srv/app/page.html", False),
        ("/srv/app/named.html", True),
        ("/srv/app/../app/named.html", True),
    ],
)
def test_a_change_counts(path, does):
    assert counts(path, {"/srv/app/named.html"}) is does
