"""What is named instead of a WSGI application by mistake."""

from typing import Any

number = 5


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An application of the other kind."""


def broken_factory() -> None:
    """A factory that fails."""
    raise ValueError("no database")
