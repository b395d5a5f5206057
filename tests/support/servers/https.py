"""A real HTTPS server on loopback that answers well, badly, slowly and without end."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20"><text y="15">Logo-from-https</text></svg>'
PAGES = {
    "/logo.svg": (200, {"Content-Type": "image/svg+xml"}, SVG),
    "/style.css": (200, {"Content-Type": "text/css"}, b"p::after { content: 'styled-by-https' }"),
    "/zipped.css": (200, {"Content-Type": "text/css", "Content-Encoding": "gzip"}, b"\x1f\x8b"),
    "/to-private": (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
    "/missing": (404, {}, b"no"),
    "/busy": (503, {}, b"later"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, stop: threading.Event) -> None:
        self.stop = stop
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path in {"/endless", "/drip"}:
            self._stream()
            return
        status, headers, body = PAGES[self.path.partition("?")[0]]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Send as fast as possible, or a byte every now and then, until the client has enough."""
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()
        chunk = b"x" * (65536 if self.path == "/endless" else 1)
        with suppress(OSError):
            while not self.stop.wait(0 if self.path == "/endless" else 0.02):
                self.wfile.write(chunk)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *args: object) -> None:
        """A client that refuses our certificate is no news."""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for the name localhost (not for 127.0.0.1) and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    return certificate, key


@contextmanager
def serve(certificate: Path, key: Path) -> Iterator[int]:
    """Run the server; gives its port."""
    stop = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with QuietServer(("127.0.0.1", 0), partial(Handler, stop=stop)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            stop.set()
            server.shutdown()
            thread.join()
