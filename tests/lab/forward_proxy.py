"""An HTTP forward proxy for plain GET and POST that resolves names its own way."""
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from . import net


class ForwardProxy:
    """names: {"responder.lab.test": "127.0.0.1"}; everything else is a 502."""

    def __init__(self, names):
        self.names = names
        self.port = net.free_port()
        self.asked = []  # the request targets
        self._server = _Server((net.HOST, self.port), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients may go away in the middle."""


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        proxy = self.server.proxy
        proxy.asked.append(self.path)
        target = urlsplit(self.path)
        address = proxy.names.get(target.hostname)
        if target.scheme != "http" or address is None:
            return self.send_error(502)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(address, target.port or 80, timeout=10)
        try:
            headers = {"Host": target.netloc}
            if body:
                headers["Content-Type"] = self.headers.get("Content-Type", "")
            connection.request(self.command, target.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET
