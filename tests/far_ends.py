"""Servers at the far end of what is tested."""

import contextlib
import socketserver
import threading
import time
from http.server import ThreadingHTTPServer


class HttpFarEnd:
    """An HTTP server on a free port of 127.0.0.1, which answers for as long as it is entered."""

    def __init__(self, handler):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Drip(socketserver.BaseRequestHandler):
    """Answers for ever, a byte at a time: never silent for long, and never done."""

    def handle(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                self.request.sendall(b" ")
                time.sleep(0.05)


@contextlib.contextmanager
def dripping():
    """The URL of a server that is never done with its answer."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
