"""Serves the page: on this machine alone unless told otherwise, and with nothing from elsewhere."""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from revgan.errors import UserError, optional, visible
from revgan.inference import Translator
from revgan.inference.planning import AUTO, WindowOptions
from revgan.serving.guard import Guard
from revgan.serving.keeping import Keeping
from revgan.serving.page import ENDS, STYLE, Page
from revgan.serving.work import Workshop

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
"""The reader's own: gradio's would come from Google."""

CONNECTIONS = 500
"""How many there may be at once; systems let a process have about 1,000 open files."""


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
    translator: Translator,
    name: str,
    address: Address,
    limits: Limits,
    console: Console,
    ends: tuple[str, str] = ENDS,
) -> None:
    """Serves the page for a model until the process is told to stop; see `opened`.

    Args:
        translator: the model.
        name: what to call it.
        address: where.
        limits: what the page takes on.
        console: is told the page's address.
        ends: what A and B are, in a few words.

    Raises:
        UserError: as of `opened`.
    """
    with opened(translator, name, address, limits, ends) as (server, listening):
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
    translator: Translator,
    name: str,
    address: Address,
    limits: Limits,
    ends: tuple[str, str] = ENDS,
) -> Iterator[tuple[Any, socket.socket]]:
    """A server that is ready to run: a `uvicorn.Server` and the socket for it.

    All files lie in one temporary folder, which is removed at the end; each of them is removed an
    hour after its last use.

    Args:
        translator: the model.
        name: what to call it.
        address: where.
        limits: what the page takes on.
        ends: what A and B are, in a few words.

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
        page = Page(gradio, workshop, name, cache, rooms, keeping, ends)
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
        Middleware(Guard, most=most, keeping=keeping),
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
