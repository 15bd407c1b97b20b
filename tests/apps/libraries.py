"""What applications do with common libraries, each for real: ``/NAME`` runs a row and answers.

``$DATA`` is a directory that the application may write to, ``$OUTSIDE`` one of its user's that it
may not. A row's result is what the test knows that it must be.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io
import json
import logging
import logging.handlers
import mmap
import multiprocessing
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

DATA, OUTSIDE = Path(os.environ["DATA"]), Path(os.environ["OUTSIDE"])
_PATIENCE_S = 30.0

ROWS: dict[str, Callable[[], Any]] = {}


def _row(function: Callable[[], Any]) -> Callable[[], Any]:
    ROWS[function.__name__] = function
    return function


# ---- numbers, pictures, databases ----------------------------------------------------------------


@_row
def numpy() -> Any:
    import numpy as np

    twos, threes = np.full((300, 300), 2.0), np.full((300, 300), 3.0)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        # Large enough for OpenBLAS to share each among threads of its own.
        products = list(pool.map(lambda _: float((twos @ threes).sum()), range(8)))
    wave = np.sin(2 * np.pi * 50 * np.arange(1024) / 1024)
    drawn = np.random.default_rng().random(1000)  # the seed is the system's
    np.save(DATA / "twos.npy", twos)
    mapped = np.load(DATA / "twos.npy", mmap_mode="r+")
    mapped[0, 0] = 5
    mapped.flush()
    return {
        "products": products,
        "peak": int(np.abs(np.fft.rfft(wave)).argmax()),
        "solved": np.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).tolist(),
        "drawn": bool((drawn >= 0).all() and drawn.std() > 0),
        "mapped": float(np.load(DATA / "twos.npy").sum()),
    }


@_row
def pillow() -> Any:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (64, 32), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((8, 8, 23, 23), fill=(255, 0, 0))
    draw.text((40, 8), "W", fill="black", font=ImageFont.load_default(16))
    found: dict[str, Any] = {
        "inked": picture.crop((36, 4, 63, 31)).getextrema() != ((255, 255),) * 3
    }
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        picture.save(file.name)
        for name, source in (("buffer", buffer), ("file", file.name)):
            with Image.open(source) as again:
                found[name] = [again.format, again.size, again.getpixel((10, 10))]
    for kind in ("JPEG", "WEBP"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        with Image.open(buffer) as again:
            found[kind] = again.resize((16, 8)).size
    return found


@_row
def psycopg() -> Any:
    import psycopg

    phrases = ("Connection refused", "No such file or directory", "ermission denied")
    found: dict[str, Any] = {"is_compiled": psycopg.pq.__impl__}
    empty = tempfile.mkdtemp()
    # Port 1 is tcpmux's, which nobody runs.
    for host in ("127.0.0.1", "localhost", empty, "/run/postgresql"):
        try:
            psycopg.connect(host=host, port=1, connect_timeout=int(_PATIENCE_S))
        except psycopg.OperationalError as error:
            said = [phrase for phrase in phrases if phrase in str(error)]
            found["a directory" if host == empty else host] = said or str(error)
    return found


@_row
def sqlite() -> Any:
    found: dict[str, Any] = {}
    for mode in ("delete", "wal"):  # WAL maps a file beside the database
        path = DATA / f"{mode}.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            (is_mode,) = database.execute(f"PRAGMA journal_mode={mode}").fetchone()
            database.execute("CREATE TABLE thing (number INTEGER, name TEXT)")
            rows = [(number, f"name {number}") for number in range(10_000)]
            database.executemany("INSERT INTO thing VALUES (?, ?)", rows)
            database.commit()
            # Sorts, and writes the whole database anew: both in temporary files.
            database.execute("PRAGMA temp_store=1")
            database.execute("CREATE INDEX by_name ON thing (name)")
            database.commit()
            database.execute("VACUUM")
            found[mode] = [
                is_mode,
                *database.execute("SELECT count(*), sum(number) FROM thing").fetchone(),
                *database.execute("SELECT name FROM thing ORDER BY name DESC").fetchone(),
            ]
    try:
        with contextlib.closing(sqlite3.connect(OUTSIDE / "refused.sqlite")) as database:
            database.execute("CREATE TABLE thing (number INTEGER)")
    except sqlite3.OperationalError as error:
        found["outside"] = str(error)
    return found


# ---- processes -----------------------------------------------------------------------------------


@_row
def subprocesses() -> Any:
    def output(*command: str, **details: Any) -> str:
        return subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, **details
        ).stdout

    first = subprocess.Popen(["/bin/echo", "through a pipe"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["cat"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()  # type: ignore[union-attr]
    piped = second.communicate(timeout=_PATIENCE_S)[0].decode()
    sleeping = subprocess.Popen(["sleep", "1000"])
    sleeping.terminate()
    return {
        "echo": output("/bin/echo", "hello"),
        "pipeline": output("sh", "-c", "printf 'b\\na\\n' | sort | head -n 1"),
        "shell": subprocess.check_output("echo $((6 * 7)); exit 0", shell=True, text=True),  # noqa: S602 - as applications do
        "input": output("tr", "a-z", "A-Z", input="text"),
        "popen": os.popen("echo popen").read(),  # noqa: S605 - the same
        "pipes": [piped, first.wait(_PATIENCE_S), second.returncode],
        "null": subprocess.call(["cat"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL),
        "status": subprocess.call(["sh", "-c", "exit 3"], start_new_session=True),
        "terminated": sleeping.wait(_PATIENCE_S),
        "python": output(sys.executable, "-c", "import json; print(json.dumps([1]))"),
        "temporary": output("sh", "-c", 'file=$(mktemp); echo here >"$file"; cat "$file"'),
    }


def _square(number: int) -> int:
    return number * number


def _count(total: Any, lock: Any, results: Any) -> None:
    for _ in range(100):
        with lock:
            total.value += 1
    results.put(os.getppid())


def _fill(name: str) -> None:
    block = shared_memory.SharedMemory(name)
    block.buf[:5] = b"there"
    block.close()


def _multiprocessing(method: str) -> Any:
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:  # leaving it terminates them
        squares = pool.map(_square, range(10))
    total, lock, results = context.Value("i", 0, lock=False), context.Lock(), context.Queue()
    counting = [context.Process(target=_count, args=(total, lock, results)) for _ in range(2)]
    block = shared_memory.SharedMemory(create=True, size=4096)
    filling = context.Process(target=_fill, args=(block.name,))
    for process in (*counting, filling):
        process.start()
    answers = [results.get(timeout=_PATIENCE_S) for _ in counting]
    for process in (*counting, filling):
        process.join(_PATIENCE_S)
    with context.Manager() as manager:
        shared = manager.dict(a=1)
        shared["b"] = 2
        managed = dict(shared)
    filled = bytes(block.buf[:5]).decode()
    block.close()
    block.unlink()
    return {
        "squares": squares,
        "total": total.value,
        "answers": len(answers),
        "statuses": [process.exitcode for process in (*counting, filling)],
        "filled": filled,
        "managed": managed,
    }


@_row
def multiprocessing_by_fork() -> Any:
    return _multiprocessing("fork")


@_row
def multiprocessing_by_spawn() -> Any:
    return _multiprocessing("spawn")


@_row
def multiprocessing_by_forkserver() -> Any:
    return _multiprocessing("forkserver")


@_row
def futures() -> Any:
    found = {}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found["threads"] = list(pool.map(_square, range(5)))
    for name, context in (("processes", None), ("spawned", multiprocessing.get_context("spawn"))):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            found[name] = list(pool.map(_square, range(5)))
            try:
                pool.submit(_square, "text").result(_PATIENCE_S)  # type: ignore[arg-type]
            except TypeError:
                found[f"{name}' error"] = ["TypeError"]  # type: ignore[list-item]
    return found


# ---- event loops ---------------------------------------------------------------------------------


async def _talk() -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    path = tempfile.mkdtemp() + "/socket"
    server = await asyncio.start_unix_server(answer, path)
    async with server:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"over a unix socket\n")
        line = await reader.readline()
        writer.close()
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    copied, _ = await process.communicate(b"through a subprocess")
    loop = asyncio.get_running_loop()
    names = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
    try:
        await asyncio.open_connection("127.0.0.1", 1)
    except OSError as error:
        refused = type(error).__name__
    return {
        "loop": type(loop).__module__.partition(".")[0],
        "line": line.decode(),
        "copied": [copied.decode(), process.returncode],
        "executor": await asyncio.to_thread(_square, 7),
        "address": list(names[0][4]),
        "refused": refused,
    }


@_row
def uvloop() -> Any:
    import uvloop

    return uvloop.run(_talk())


@_row
def asyncios_own_loop() -> Any:
    return asyncio.run(_talk())


@_row
def fastapi() -> Any:
    from fastapi_site import api

    async def call(method: str, target: str, body: bytes) -> list[Any]:
        sent: list[Any] = []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": target, "raw_path": target.encode(), "query_string": b"", "root_path": "",
            "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Any) -> None:
            sent.append(event)

        await api(scope, receive, send)
        text = b"".join(event.get("body", b"") for event in sent)
        return [sent[0]["status"], json.loads(text)]

    async def calls() -> Any:
        return {
            "kept": await call("POST", "/items/7", b'{"number": 1}'),
            "async": await call("GET", "/async", b""),
            "invalid": (await call("POST", "/items/seven", b"{}"))[0],
            "schema": (await call("GET", "/openapi.json", b""))[0],
        }

    return asyncio.run(calls())


# ---- files and logs ------------------------------------------------------------------------------


@_row
def temporary_files() -> Any:
    found: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as file:
        file.write("content")
        file.seek(0)
        found["unnamed"] = file.read()
        file.truncate(3)
        found["truncated"] = os.fstat(file.fileno()).st_size
    with tempfile.NamedTemporaryFile() as named:
        named.write(b"mapped")
        named.flush()
        with mmap.mmap(named.fileno(), 0) as memory:
            memory[:1] = b"M"
        found["named"] = Path(named.name).read_text()
    found["removed"] = not Path(named.name).exists()
    with tempfile.SpooledTemporaryFile(10) as spooled:
        spooled.write(b"longer than ten")
        spooled.seek(0)
        found["spooled"] = spooled.read().decode()
    fd, name = tempfile.mkstemp(prefix="made-")
    os.close(fd)
    found["mode"] = oct(stat.S_IMODE(os.stat(name).st_mode))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        shutil.move(name, Path(one) / "a")
        os.rename(Path(one) / "a", Path(two) / "b")  # into another directory
        os.link(Path(two) / "b", Path(one) / "c")
        os.symlink("c", Path(one) / "d")
        os.mkfifo(Path(one) / "e")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(Path(one) / "f"))
        os.chmod(Path(one) / "c", 0o640)
        os.utime(Path(one) / "c", (1, 1))
        shutil.copytree(one, Path(two) / "copied", ignore=shutil.ignore_patterns("e", "f"))
        found["directories"] = [sorted(os.listdir(one)), sorted(os.listdir(two))]
        shutil.move(Path(two) / "copied", DATA / "moved")  # out of the temporary directory
    found["gone"] = [os.path.exists(one), os.path.exists(two)]
    found["moved"] = sorted(os.listdir(DATA / "moved"))
    found["place"] = Path(tempfile.gettempdir()).name.startswith("udsrv-tmpdir-")
    return found


@_row
def log_handlers() -> Any:
    failed: list[str] = []

    def handler(of: type[logging.Handler], *arguments: Any, **details: Any) -> logging.Handler:
        made = of(*arguments, **details)
        made.handleError = lambda _record: failed.append(  # type: ignore[method-assign]
            f"{of.__name__}: {sys.exc_info()[0].__name__}"  # type: ignore[union-attr]
        )
        return made

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        daemon = tempfile.mkdtemp() + "/log"
        listener.bind(daemon)
        handlers = logging.handlers
        rotating = handler(
            handlers.RotatingFileHandler, DATA / "rotated.log", maxBytes=100, backupCount=2
        )
        watched = handler(handlers.WatchedFileHandler, DATA / "watched.log")
        local = handler(handlers.SysLogHandler, daemon)
        buffered = handler(handlers.MemoryHandler, 100, target=watched)
        everything = [
            rotating,
            handler(handlers.TimedRotatingFileHandler, DATA / "timed.log"),
            buffered,
            local,
            handler(handlers.SysLogHandler, ("127.0.0.1", 514)),  # heard by nobody
            handler(handlers.SysLogHandler, "/dev/log"),  # there or not
            handler(handlers.SocketHandler, "127.0.0.1", 1),  # refused; it keeps quiet
        ]
        log = logging.Logger("rows")
        for one in everything:
            log.addHandler(one)
        local.setLevel(logging.ERROR)  # nobody reads yet, and few datagrams fit into the queue
        for number in range(20):
            log.warning("line %02d of the log's twenty", number)
        log.error("to the daemon")
        heard = listener.recv(100).decode()
        for one in (*everything, watched):
            one.close()
    return {
        "files": sorted(path.name for path in DATA.glob("*.log*")),
        "rotated": (DATA / "rotated.log.1").read_text().splitlines()[-1],
        "timed": len((DATA / "timed.log").read_text().splitlines()),
        "watched": len((DATA / "watched.log").read_text().splitlines()),
        "heard": heard,
        "failed": [text for text in failed if not text.startswith("SysLogHandler: FileNotFound")],
    }


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Run the row that the path names."""
    result = ROWS[environ["PATH_INFO"].removeprefix("/")]()
    answer = json.dumps({"pid": os.getpid(), "result": result}).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
