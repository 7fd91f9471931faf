"""What the server answers to at all, and what a browser may load from it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

# everything comes from this server or is in the page itself; nothing from elsewhere
POLICY = '; '.join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "frame-ancestors 'self'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)
HEADERS = {
    'content-security-policy': POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    # a result is the visitor's own: no cache keeps it
    'cache-control': 'no-store',
}
# Gradio has more: files of its folder, proxies, tools of developers, its API
PAGES = (
    '/',
    '/config',
    '/favicon.ico',
    '/manifest.json',
    '/robots.txt',
    '/theme.css',
    '/gradio_api/upload',
    '/gradio_api/upload_progress',
    '/gradio_api/queue/join',
    '/gradio_api/queue/data',
    '/gradio_api/cancel',
    '/gradio_api/reset',
    '/gradio_api/startup-events',
    '/gradio_api/theme.css',
)
FOLDERS = ('/assets/', '/static/', '/gradio_api/heartbeat/')
# of a form around the file in it
ENVELOPE = 100_000


class Guard:
    """ASGI middleware: a short list of routes, a limit on bodies, safe headers.

    Args:
        app (callable): The ASGI application.
        most (int): Bytes of one upload.
    """

    def __init__(self, app, most: int):
        self.app = app
        self.most = most

    async def __call__(self, scope, receive, send):
        """Answer a request, or hand it on."""
        if scope['type'] != 'http':
            # the lifespan; the page opens no web socket
            if scope['type'] == 'lifespan':
                await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            text, code = refusal
            await PlainTextResponse(text, code)(scope, receive, send)
            return

        async def send_with_headers(message):
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for key, value in HEADERS.items():
                    if key != 'cache-control' or not _is_static(scope['path']):
                        headers[key] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope):
        """(text, status) of a request that is not answered, or None."""
        path = scope['path']
        if path not in PAGES and not path.startswith(FOLDERS):
            return 'This page has no such address.', 404
        if scope['method'] in ('GET', 'HEAD', 'OPTIONS'):
            return None
        length = Headers(scope=scope).get('content-length', '')
        if not length.isdecimal():
            return 'Send the length of the content.', 411
        if int(length) > self.most + ENVELOPE:
            return (
                f'Content exceeds the maximum allowed size of {self.most} bytes.',
                413,
            )
        return None


def _is_static(path):
    return path.startswith(('/assets/', '/static/'))
