"""An HTTP proxy that only tunnels (CONNECT), and resolves names its own way."""
import socket
import threading

from . import net


class ConnectProxy:
    """names: {"backend.lab.test": "127.0.0.1"}; other hosts are refused."""

    def __init__(self, names):
        self.names = names
        self.port = net.free_port()
        self.asked = []  # "host:port"
        self._listener = socket.create_server((net.HOST, self.port), backlog=16)
        self._thread = threading.Thread(target=self._serve, daemon=True)

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
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client):
        try:
            with client:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    byte = client.recv(1)
                    if not byte:
                        return
                    head += byte
                method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
                self.asked.append(target)
                host, _, port = target.rpartition(":")
                if method != "CONNECT" or host not in self.names:
                    client.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection((self.names[host], int(port)), 10) as server:
                    client.sendall(b"HTTP/1.1 200 yes\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                    back.start()
                    _copy(client, server)
                    back.join(10)
        except (OSError, ValueError):
            pass


def _copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
