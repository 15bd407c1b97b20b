"""WsgiDAV on ``$DATA``: locks, properties, copies and moves by methods of their own."""

from __future__ import annotations

import os

from wsgidav.wsgidav_app import WsgiDAVApp

app = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["DATA"]},
        "simple_dc": {"user_mapping": {"*": True}},
        "property_manager": True,
        "lock_storage": True,
        "dir_browser": {"enable": False},
        "logging": {"enable": False},
        "verbose": 1,
    }
)
