"""An HTTPS proxy that knows CONNECT and leads every connection to one address."""
import socket
import ssl
import threading

from tests.lab import net


class HttpsProxy:
    def __init__(self, chain, key, target_port):
        self.port = net.free_port()
        self.asked = []  # request lines
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain, key)
        self._listener = socket.create_server((net.HOST, self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            with self._context.wrap_socket(plain, server_side=True) as client:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                self.asked.append(head.split(b"\r\n")[0].decode())
                with socket.create_connection((net.HOST, self._target_port)) as server:
                    client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
                    there = threading.Thread(target=_pump, args=(client, server), daemon=True)
                    there.start()
                    _pump(server, client)
        except (OSError, IndexError):
            pass


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
