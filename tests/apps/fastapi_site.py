"""A FastAPI application with a model, for whoever calls it as ASGI does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

api = FastAPI()


class Item(BaseModel):
    """What is posted."""

    number: int
    name: str = "unnamed"


@api.post("/items/{place}")
def keep(place: int, item: Item) -> dict[str, Any]:
    """Answer with what came; not async, and so in a thread of anyio's."""
    is_main = threading.current_thread() is threading.main_thread()
    return {"place": place, "item": item, "is_in_a_thread": not is_main}


@api.get("/async")
async def wait() -> list[int]:
    """Answer from the event loop."""
    await asyncio.sleep(0)
    return [1, 2]
