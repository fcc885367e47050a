"""A real S3 server on loopback, and a way to it that fails on cue.

The server is JuiceFS's gateway: objects are files of a folder, signatures are checked, and
conditional puts are not honoured, so that nothing comes to depend on them.

Source: docs/spec/media-format.md, "Object stores"; SPEC F13.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from datamover.testing.ability import Ability

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FailingWay", "GivenServer", "ObjectServer", "object_address", "objects_available"]

_BUCKET: Final = "bucket"
_KEY: Final = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret"}
_START_S: Final = 40.0
_STOP_S: Final = 20.0
_FAILURES: Final = {
    "F": (403, "QuotaExceeded"),
    "B": (503, "SlowDown"),
    "C": (403, "RequestTimeTooSkewed"),
    "E": (400, "InvalidDigest"),
}


def objects_available() -> Ability:
    """Say whether the server can run here."""
    try:
        import obstore  # noqa: F401, PLC0415 - looked for
    except ImportError:
        return Ability("obstore is not installed")
    return Ability() if _program() else Ability("juicefs is not installed")


def _program() -> str | None:
    beside = Path(sys.executable).parent / "juicefs"
    return str(beside) if beside.exists() else shutil.which("juicefs")


class ObjectServer:
    """A gateway with one bucket, for a ``with`` block.

    Attributes:
        endpoint: Its URL.
        environment: The key, as the environment has it.
    """

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        self.endpoint = ""
        self.environment: Mapping[str, str] = _KEY
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, prefix: str, **options: str) -> str:
        """Return a medium's address in the bucket."""
        return object_address(self.endpoint, prefix, **options)

    def __enter__(self) -> Self:
        program = _program()
        assert program is not None
        meta = f"sqlite3://{self._folder}/meta.db"
        blobs = self._folder / "blobs"
        blobs.mkdir(parents=True)
        making = (
            program, "format", "--storage", "file", "--bucket", f"{blobs}/", "--trash-days", "0",
            meta, _BUCKET,
        )  # fmt: skip
        made = subprocess.run(making, capture_output=True, timeout=_START_S, check=False)  # noqa: S603
        assert not made.returncode, made.stderr.decode(errors="replace")
        place = f"127.0.0.1:{_free_port()}"
        self.endpoint = f"http://{place}"
        serving = (
            program, "gateway", "--keep-etag", "--no-usage-report", "--no-banner", meta, place,
        )  # fmt: skip
        secrets = {
            "MINIO_ROOT_USER": _KEY["AWS_ACCESS_KEY_ID"],
            "MINIO_ROOT_PASSWORD": _KEY["AWS_SECRET_ACCESS_KEY"],
        }
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - what pip installed
                serving, stdout=log, stderr=log, env={**os.environ, **secrets}
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; again is harmless."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "log").read_text()
            connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=5)
            try:
                connection.request("GET", "/minio/health/live")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()
        raise TimeoutError((self._folder / "log").read_text())


class GivenServer(ObjectServer):
    """A server that somebody else started: DATAMOVER_S3 is its URL, AWS_* are its key."""

    def __init__(self, endpoint: str, environment: Mapping[str, str]) -> None:
        """Name it."""
        super().__init__(Path())
        self.endpoint = endpoint
        self.environment = {
            name: value for name, value in environment.items() if name.startswith("AWS_")
        }

    def __enter__(self) -> Self:
        from obstore import sign  # noqa: PLC0415 - an extra
        from obstore.store import S3Store  # noqa: PLC0415 - an extra

        store = S3Store(
            _BUCKET,
            config={
                "endpoint": self.endpoint,
                "region": "us-east-1",
                "access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
                "secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
            },
            client_options={"allow_http": True},
        )
        making = urlsplit(sign(store, "PUT", "", timedelta(seconds=60)))
        connection = http.client.HTTPConnection(making.netloc, timeout=_START_S)
        try:
            connection.request("PUT", f"{making.path}?{making.query}")
            answer = connection.getresponse()
            # One that is ours already is as good.
            assert answer.status in {200, 409}, answer.read()
        finally:
            connection.close()
        return self


def object_address(endpoint: str, prefix: str, **options: str) -> str:
    """Return the address of a medium in the bucket of the server at ``endpoint``."""
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return f"s3://{_BUCKET}/{prefix}?endpoint={endpoint}{more}"


class FailingWay:
    """Stands before a server and fails by plan: one letter a request that changes something.

    ``.`` passes, ``F`` is full, ``B`` is busy, ``C`` is a clock that is off, ``E`` is an error,
    ``D`` drops the connection.  The last letter stands for all that follow.
    With ``room``, what would take more bytes than that is refused as full.

    Attributes:
        requests: That changed something, so far.
        answered: Bytes that the server sent, so far.
    """

    def __init__(self, endpoint: str, plan: str = ".", *, room: int | None = None) -> None:
        """Lead to ``endpoint``, for a ``with`` block."""
        self._to = urlsplit(endpoint).netloc
        self._plan = plan
        self._room = room
        self._lock = threading.Lock()
        self.requests = 0
        self.answered = 0
        way = self

        class Handler(_Handler):
            def handle_one(self) -> None:
                way._handle(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="failing way")

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, handler: _Handler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", "0")))
        letter = self._next(handler.command, len(body))
        if letter == "D":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if letter in _FAILURES:
            status, code = _FAILURES[letter]
            text = f"<Error><Code>{code}</Code><Message>by plan</Message></Error>"
            handler.answer(status, {}, text.encode())
            return
        connection = http.client.HTTPConnection(self._to, timeout=30)
        try:
            # The host stays as it was signed.
            connection.request(handler.command, handler.path, body, dict(handler.headers.items()))
            response = connection.getresponse()
            answer = response.read()
            with self._lock:
                self.answered += len(answer)
            handler.answer(response.status, dict(response.getheaders()), answer)
        finally:
            connection.close()

    def _next(self, command: str, size: int) -> str:
        if command not in {"PUT", "POST"}:
            return "."
        with self._lock:
            letter = self._plan[min(self.requests, len(self._plan) - 1)]
            self.requests += 1
            if self._room is not None and command == "PUT":
                if size > self._room:
                    return "F"
                self._room -= size
        return letter


class _Handler(BaseHTTPRequestHandler):
    """One connection that speaks HTTP/1.0: a request, an answer, an end."""

    def handle_one(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.handle_one()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - likewise

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
