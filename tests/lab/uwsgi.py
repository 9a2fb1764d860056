"""A uwsgi server over TLS: reads a packet of variables, answers with one page."""
import socket
import ssl
import struct
import threading

from . import net


class UwsgiServer:
    def __init__(self, chain, key):
        self.port = net.free_port()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain, key)
        self._listener = socket.create_server((net.HOST, self.port), backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.served = []  # variables of each packet

    @property
    def address(self):
        return f"{net.HOST}:{self.port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        connection.settimeout(10)
        try:
            with self._context.wrap_socket(connection, server_side=True) as peer:
                stream = peer.makefile("rb")
                _, size, _ = struct.unpack("<BHB", stream.read(4))
                self.served.append(_variables(stream.read(size)))
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                             b"Content-Length: 6\r\n\r\nuwsgi\n")
                peer.unwrap()
        except (OSError, struct.error):
            pass  # a peer that rejects us goes away in the middle


def _variables(block):
    found, at = {}, 0

    def text():
        nonlocal at
        size, = struct.unpack_from("<H", block, at)
        at += 2 + size
        return block[at - size:at].decode()

    while at < len(block):
        key = text()
        found[key] = text()
    return found
