"""Serves the page."""

import contextlib
import ipaddress
import os
import shutil
import tempfile
import time
from pathlib import Path

from fastsegformer_mm.deploy.errors import DeployError

try:
    import gradio as gr
    from gradio import routes
    from starlette.middleware import Middleware
except ImportError as error:
    raise DeployError(
        f'the page needs Gradio ({error}); pip install "fastsegformer-mm[page]"'
    ) from error

from .guard import Guard
from .limits import Limits
from .models import Models
from .page import Page

ASSETS = Path(__file__).parent / 'assets'
# the machine's own: nothing is fetched from anywhere
FONTS = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif')
MONO_FONTS = ('ui-monospace', 'Menlo', 'Consolas', 'DejaVu Sans Mono', 'monospace')
FOLDER_VARIABLE = 'GRADIO_TEMP_DIR'


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``.

    Example:
        >>> is_loopback('127.0.0.1'), is_loopback('localhost'), is_loopback('0.0.0.0')
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip('[]')).is_loopback
    except ValueError:
        return host == 'localhost'


class PageServer:
    """The page, served until it is closed.

    Uploads pass through a folder of the server's own, readable by its user only. A
    file leaves it when the request is worked on, and the folder goes at the end.

    Args:
        models (Models): To choose from.
        limits (Limits, optional): Of each visitor. Defaults to None, those of Limits.
        host (str): Address to bind to. Defaults to '127.0.0.1', this machine only.
        port (int): Defaults to 7860.

    Raises:
        DeployError: The port or address is not to be had.

    Example:
        >>> with PageServer(models) as server:
        ...     print(server.address)
        ...     server.wait()
        http://127.0.0.1:7860/
    """

    def __init__(
        self,
        models: Models,
        limits: Limits | None = None,
        host: str = '127.0.0.1',
        port: int = 7860,
    ):
        limits = limits or Limits()
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix='fastsegformer-page-'))
        # Gradio has no other way to be told, and has read the variable for one of
        # its folders when it was imported
        self._before = os.environ.get(FOLDER_VARIABLE), routes.DEFAULT_TEMP_DIR
        os.environ[FOLDER_VARIABLE] = routes.DEFAULT_TEMP_DIR = self.folder
        try:
            self._blocks = Page(models, limits).blocks()
            self._launch(limits, host, port)
        except BaseException:
            self._forget()
            raise

    def _launch(self, limits, host, port):
        theme = gr.themes.Default(primary_hue='blue', font=FONTS, font_mono=MONO_FONTS)
        script = (ASSETS / 'page.js').read_text(encoding='utf-8')
        guard = Middleware(Guard, most=limits.bytes)
        try:
            _, self.address, _ = self._blocks.launch(
                server_name=host,
                server_port=port,
                max_file_size=limits.bytes,
                state_session_capacity=limits.visitors,
                app_kwargs={
                    'middleware': [guard],
                    'docs_url': None,
                    'redoc_url': None,
                    'openapi_url': None,
                },
                theme=theme,
                css_paths=[ASSETS / 'page.css'],
                head=f'<script>{script}</script>',
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                inbrowser=False,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                enable_monitoring=False,
                num_workers=0,
                allowed_paths=[],
            )
        except OSError as error:
            raise DeployError(
                f'{host}:{port} cannot be served from: {error}; choose another --port '
                'or --host'
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def wait(self):
        """Serve until the process is interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                # Windows interrupts no other way of waiting, and this by Ctrl-C alone
                time.sleep(1)

    def close(self):
        """Stop serving and remove what is left of uploads."""
        self._blocks.close(verbose=False)
        self._forget()

    def _forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        variable, routes.DEFAULT_TEMP_DIR = self._before
        if variable is None:
            os.environ.pop(FOLDER_VARIABLE, None)
        else:
            os.environ[FOLDER_VARIABLE] = variable
