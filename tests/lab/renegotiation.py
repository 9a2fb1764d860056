"""A TLS 1.2 server that asks its client to renegotiate: `openssl s_server` on its stdin."""
import subprocess

from . import net
from .process import Process

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


class RenegotiatingServer:
    def __init__(self, folder, chain, key):
        self.port = net.free_port()
        self._argv = ["openssl", "s_server", "-accept", f"{net.HOST}:{self.port}", "-tls1_2",
                      "-cert", chain, "-cert_chain", chain, "-key", key, "-state"]
        self._folder = folder
        self._process = None

    @property
    def address(self):
        return f"{net.HOST}:{self.port}"

    def __enter__(self):
        self._process = Process(self._argv, folder=self._folder, name="s_server",
                                ready_text="ACCEPT", stdin=subprocess.PIPE)
        self._process.wait_ready()
        return self

    def __exit__(self, *exc):
        self._process.stop()

    def _say(self, words):
        try:
            self._process.popen.stdin.write(words)
            self._process.popen.stdin.flush()
        except BrokenPipeError:
            pass  # it ended with the connection

    def wait_for_request(self):
        net.wait_until(lambda: "GET / HTTP" in self._process.text(), "the request")

    def renegotiate(self):
        """Sends HelloRequest, which s_server does for a line that is just this letter."""
        self._say(b"r\n")
        net.wait_until(lambda: self.renegotiated() or "no renegotiation" in self._process.text(),
                       "the client's reaction")

    def answer(self):
        self._say(ANSWER)
        # To end the body where the client waits for it.
        self._say(b"Q\n")

    def renegotiated(self):
        """Whether the client made a second handshake."""
        return self._process.text().count("SSL_accept:SSLv3/TLS read finished") > 1
