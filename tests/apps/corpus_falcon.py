"""A Falcon site: media handlers, streams with and without a length, hooks, errors as JSON."""

from __future__ import annotations

import io
from pathlib import Path

import falcon

_FILES = Path(__file__).parent / "corpus_files"


class Things:
    """A collection and its members."""

    def __init__(self) -> None:
        self._things: dict[str, object] = {}

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """List what there is."""
        response.media = {"things": sorted(self._things)}

    def on_put_thing(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """Take a thing as JSON."""
        is_new = name not in self._things
        self._things[name] = request.get_media()
        response.status = falcon.HTTP_201 if is_new else falcon.HTTP_200
        response.location = f"/things/{name}"

    def on_get_thing(self, _request: falcon.Request, response: falcon.Response, name: str) -> None:
        """Give it back."""
        if name not in self._things:
            raise falcon.HTTPNotFound(title="No such thing", description=name)
        response.media = self._things[name]
        response.etag = name
        response.vary = ("Accept", "Cookie")

    def on_delete_thing(
        self, _request: falcon.Request, response: falcon.Response, name: str
    ) -> None:
        """Forget it."""
        self._things.pop(name, None)
        response.status = falcon.HTTP_204


class Files:
    """A file, as a stream."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Send the file with its length, or without."""
        path = _FILES / "lines.txt"
        if request.get_param_as_bool("sized"):
            response.set_stream(path.open("rb"), path.stat().st_size)
        else:
            response.stream = path.open("rb")
        response.content_type = "text/plain"

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Count a body of any size through the stream that ends with it."""
        sizes = iter(lambda: len(request.bounded_stream.read(4096)), 0)
        response.media = {"size": sum(sizes), "type": request.content_type}


class Forms:
    """A multipart form, part by part."""

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Tell each part's name and size."""
        found = {part.name: len(part.stream.read()) for part in request.get_media()}
        response.set_cookie("seen", "1", same_site="Strict")
        response.media = found


class Mistake:
    """What goes wrong."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Fail while the answer is made."""
        response.stream = io.BytesIO(b"never sent")
        raise RuntimeError("secret of the application")


app = falcon.App()
_things = Things()
app.add_route("/things", _things)
app.add_route("/things/{name}", _things, suffix="thing")
app.add_route("/file", Files())
app.add_route("/form", Forms())
app.add_route("/mistake", Mistake())
