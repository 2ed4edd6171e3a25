"""Serves the page: on this machine alone unless told otherwise, and with nothing from elsewhere."""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from revgan.errors import UserError, optional, visible
from revgan.inference import Translator
from revgan.inference.planning import AUTO, WindowOptions
from revgan.memory import format_bytes
from revgan.serving.keeping import FullError, Keeping
from revgan.serving.page import STYLE, Page
from revgan.serving.work import Workshop

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
"""The reader's own: gradio's would come from Google."""

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

CONNECTIONS = 500
"""How many there may be at once; systems let a process have about 1,000 open files."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host: the address to listen at.
        port: 0 for any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 7860


@dataclass(frozen=True)
class Limits:
    """What the page takes on.

    Attributes:
        upload: bytes of one scan's files.
        kept: bytes of all uploads and results together; the oldest go first.
        windows: how files are cut that are too large for one pass.
    """

    upload: int = 2**30
    kept: int = 10 * 2**30
    windows: WindowOptions = AUTO


def serve(
    translator: Translator, name: str, address: Address, limits: Limits, console: Console
) -> None:
    """Serves the page for a model until the process is told to stop; see `opened`.

    Args:
        translator: the model.
        name: what to call it.
        address: where.
        limits: what the page takes on.
        console: is told the page's address.

    Raises:
        UserError: as of `opened`.
    """
    with opened(translator, name, address, limits) as (server, listening):
        host = f"[{address.host}]" if ":" in address.host else address.host
        port = listening.getsockname()[1]
        console.print(f"Open http://{host}:{port} (Ctrl-C stops the server)", soft_wrap=True)
        if address.host not in LOOPBACK:
            console.print(
                "Everybody who reaches this address can use the model; there is no password.",
                soft_wrap=True,
            )
        console.file.flush()  # a pipe would keep it until the end
        server.run(sockets=[listening])


@contextmanager
def opened(
    translator: Translator, name: str, address: Address, limits: Limits
) -> Iterator[tuple[Any, socket.socket]]:
    """A server that is ready to run: a `uvicorn.Server` and the socket for it.

    All files lie in one temporary folder, which is removed at the end; each of them is removed an
    hour after its last use.

    Args:
        translator: the model.
        name: what to call it.
        address: where.
        limits: what the page takes on.

    Raises:
        UserError: gradio isn't installed, the model can't take files, or the address isn't free.
    """
    for variable, value in {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}.items():
        os.environ[variable] = value  # which gradio reads as it is imported
    gradio = optional("gradio", "serve", "revgan serve")
    import uvicorn

    translator.intensities("AtoB")  # refuses models that take only tensors
    with TemporaryDirectory(prefix="revgan-serve-") as folder, _listen(address) as listening:
        cache, rooms = Path(folder, "uploads"), Path(folder, "results")
        cache.mkdir()
        rooms.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(cache)
        keeping = Keeping(Path(folder), limits.kept)
        workshop = Workshop(translator, limits.windows, limits.upload)
        page = Page(gradio, workshop, name, cache, rooms, keeping)
        app = _app(gradio, page.blocks, address.host, limits.upload, keeping)
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, limit_concurrency=CONNECTIONS
        )
        server = uvicorn.Server(config)
        server.shutdown = _letting_go(server.shutdown, app.routes[-1].app.stop_event)
        yield server, listening


def _letting_go(shutdown: Callable[..., Awaitable[None]], event: Any) -> Any:
    """A server's end that begins with the connections that gradio keeps for as long as a page is.

    Args:
        shutdown: the usual end.
        event: gradio's own for that, which is left alone unless gradio starts the server.
    """

    async def ended(sockets: Any = None) -> None:
        event.set()
        await shutdown(sockets)

    return ended


def _listen(address: Address) -> socket.socket:
    """Takes the address.

    Raises:
        UserError: it isn't free, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the page can't be at {visible(address.host)}, port {address.port} ({reason}); give "
            "another --port, 0 for any that is free, or another --host"
        ) from error


def _app(gradio: Any, blocks: Any, host: str, most: int, keeping: Keeping) -> Any:
    """The page as an ASGI application, behind what guards it."""
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    guards = [
        # Without it, a page from elsewhere could send its visitors' browsers here by a name of
        # its own (DNS rebinding).
        Middleware(
            TrustedHostMiddleware, allowed_hosts=list(LOOPBACK) if host in LOOPBACK else ["*"]
        ),
        Middleware(_Guard, most=most, keeping=keeping),
    ]
    plain = FastAPI(middleware=guards, docs_url=None, redoc_url=None, openapi_url=None)
    # Until then, gradio takes any path on this machine for one that was uploaded.
    blocks.has_launched = True
    return gradio.mount_gradio_app(
        plain,
        blocks,
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=most,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        css=STYLE,
        theme=_theme(gradio),
    )


def _theme(gradio: Any) -> Any:
    """Gradio's soft theme in the reader's fonts, and with the contrast that WCAG 2 AA asks for."""
    sans, mono = FONTS
    darker, lighter = "*primary_600", "*primary_300"
    return gradio.themes.Soft(font=list(sans), font_mono=list(mono)).set(
        background_fill_primary="*neutral_50",  # the theme's own, which this call forgets
        block_label_text_color=darker,
        block_title_text_color=darker,
        button_primary_background_fill=darker,
        button_primary_background_fill_hover="*primary_700",
        checkbox_label_background_fill_selected=darker,
        link_text_color=darker,
        link_text_color_dark=lighter,
    )


class _Guard:
    """Tells browsers to fetch nothing from elsewhere; refuses what is too large, or from elsewhere.

    Pages of other sites, which visitors may have open as well, could send files here.

    Args:
        app: what it guards.
        most: bytes of an upload's files.
        keeping: makes room for what is sent.
    """

    def __init__(self, app: Any, most: int, keeping: Keeping) -> None:
        self._app, self._most, self._keeping = app, most, keeping

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """See the ASGI specification."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = dict(scope["headers"])
            if headers.get(b"sec-fetch-site") == b"cross-site":
                await _refuse(403, "this page takes nothing from other sites", guarded)
                return
            size = headers.get(b"content-length")
            upload = "upload" in scope["path"]
            most = self._most + FORM if upload else ASKED
            if size is None or b"transfer-encoding" in headers:  # then size says nothing
                await _refuse(411, "what is sent must begin with its size", guarded)
                return
            if int(size) > most:
                await _listen_to_the_end(receive)
                sentence = f"this page takes files of {format_bytes(self._most)} and less"
                await _refuse(413, sentence, guarded)
                return
            try:
                sizes = (int(size), int(size)) if upload else (int(size) * PARSED, 0)
                with self._keeping.receiving(*sizes):
                    await self._app(scope, receive, guarded)
            except FullError as error:
                await _listen_to_the_end(receive)
                await _refuse(503, str(error), guarded)
            return
        await self._app(scope, receive, guarded)


async def _listen_to_the_end(receive: Any) -> None:
    """Takes the rest of what is sent, as browsers don't listen before."""
    while (await receive()).get("more_body"):
        pass


async def _refuse(status: int, sentence: str, send: Send) -> None:
    """Answers with a sentence, and ends the connection."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
