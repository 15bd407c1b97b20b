"""What an environment's own start-up files change before the application is imported is noticed."""

import re

import pytest

from support.installations import make_environment, site_packages

CHANGES = {
    "a thread": (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        r"Threads is '\d'",
    ),
    "a directory": (
        "import os, sys; sys.kept = os.open('/usr', os.O_RDONLY)",
        r"descriptors of directories is \[\d",
    ),
    "a limit": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (99, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
        r"open files is \(99, ",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_application_is_not_imported_then(serve, shared_directory, change):
    environment = make_environment(shared_directory / "venv")
    line, difference = CHANGES[change]
    (site_packages(environment) / "planted.pth").write_text(f"{line}\n")
    server = serve("--python", str(environment / "bin" / "python"), app="facts:app", ready=False)
    assert server.wait_end() == 77
    text = server.log.text()
    assert "[supervisor] error: the application isn't started, since this process" in text
    assert re.search(difference, text)
    assert f"or a .pth file or sitecustomize of {environment}/bin/python changed it" in text
    assert " ran as " not in text
    assert list(server.socket.parent.iterdir()) == []
