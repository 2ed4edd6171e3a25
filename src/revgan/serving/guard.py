"""What stands before the page: it turns requests away that the page would not end in a sentence."""

import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from revgan.errors import one_line, visible
from revgan.memory import format_bytes
from revgan.serving.keeping import FullError, Keeping

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Browsers get nothing from elsewhere; gradio's scripts are partly inline."""

FORM = 2**20
"""Bytes that an upload has beside its files."""

ASKED = 2**25
"""Bytes of what browsers send beside uploads: a few hundred for each file of a series."""

PARSED = 10
"""How many times as much memory JSON takes when it is read."""

NAMED = tuple(f"/gradio_api/{way}/" for way in ("run", "api", "call"))
"""Where gradio has functions by their names, of which this page has none."""

NO_FUNCTIONS = "this page has no functions for programs"

JOIN = "/gradio_api/queue/join"
"""Where browsers name a function by its number."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("uvicorn.error")  # the server's, which the terminal shows


class Guard:
    """Tells browsers to fetch nothing from elsewhere; refuses what is too large, or from elsewhere.

    Pages of other sites, which visitors may have open as well, could send files here. What the
    page fails on is answered with a sentence, and told in a line instead of a traceback.

    Args:
        app: what it guards.
        most: bytes of an upload's files.
        keeping: makes room for what is sent.
    """

    def __init__(self, app: Any, most: int, keeping: Keeping) -> None:
        self._app, self._most, self._keeping = app, most, keeping

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                await self._take(scope, receive, answer.send)
            elif scope["path"].startswith(NAMED):
                await _refuse(404, NO_FUNCTIONS, answer.send)
            else:
                await self._app(scope, receive, answer.send)
        except Exception as error:
            if answer.begun:
                raise
            _log.warning("%s could not be answered: %s", visible(scope["path"]), _told(error))
            unknown = scope["path"] == JOIN and isinstance(error, KeyError)
            status = 404 if unknown else 500
            await _refuse(status, "the page can't answer such a request", answer.now)
        else:
            await answer.end()

    async def _take(self, scope: Message, receive: Any, send: Send) -> None:
        """Lets through what may be sent here, and what there is room for."""
        headers, path = dict(scope["headers"]), scope["path"]
        size = headers.get(b"content-length")
        if size is None or b"transfer-encoding" in headers:  # then size says nothing
            await _refuse(411, "what is sent must begin with its size", send)
            return
        upload = "upload" in path
        refused = None
        if headers.get(b"sec-fetch-site") == b"cross-site":
            refused = 403, "this page takes nothing from other sites"
        elif int(size) > (self._most + FORM if upload else ASKED):
            refused = 413, f"this page takes files of {format_bytes(self._most)} and less"
        elif path.startswith(NAMED):
            refused = 404, NO_FUNCTIONS
        if refused:
            await _listen_to_the_end(receive)
            await _refuse(*refused, send)
            return
        try:
            sizes = (int(size), int(size)) if upload else (int(size) * PARSED, 0)
            with self._keeping.receiving(*sizes):
                await self._app(scope, receive, send)
        except FullError as error:
            await _listen_to_the_end(receive)
            await _refuse(503, str(error), send)


class _Answer:
    """Sends an answer on, but keeps one of status 500 back, as it may be followed by an error.

    Args:
        send: where to.

    Attributes:
        begun: whether something was sent.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False
        self._kept: list[Message] = []

    async def send(self, message: Message) -> None:
        if self._kept or message.get("status") == 500:
            self._kept.append(message)
        else:
            await self.now(message)

    async def end(self) -> None:
        """Sends what was kept back."""
        for message in self._kept:
            await self.now(message)

    async def now(self, message: Message) -> None:
        """Sends a message at once."""
        self.begun = True
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"content-security-policy", POLICY.encode()),
                (b"referrer-policy", b"no-referrer"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)


def _told(error: Exception) -> str:
    """An error on one line, with the place where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = visible(one_line(error, 200))
    return f"{type(error).__name__}: {words} ({place.filename}, line {place.lineno})"


async def _listen_to_the_end(receive: Any) -> None:
    """Takes the rest of what is sent: browsers don't listen before, and lose what is said."""
    while (await receive()).get("more_body"):
        pass


async def _refuse(status: int, sentence: str, send: Send) -> None:
    """Answers with a sentence, and ends the connection."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
