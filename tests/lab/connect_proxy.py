"""An HTTP proxy that only tunnels (CONNECT), and resolves names its own way."""
import socket
import threading

from . import net


class ConnectProxy:
    """names: {"backend.lab.test": "127.0.0.1"}; other hosts are refused.

    "127.0.0.1:PORT" leads to that port, whichever was asked for.  A proxy with a `fault` is of no
    use: "junk" answers CONNECT with no HTTP, "silent" not at all, "refuse" with 403; "junk behind"
    and "silent behind" agree, and then so behaves what should have been the tunnel.
    """

    def __init__(self, names, fault=None):
        self.names = names
        self.fault = fault
        self.closing = threading.Event()
        self.port = net.free_port()
        self.asked = []  # "host:port"
        self._listener = socket.create_server((net.HOST, self.port), backlog=16)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.closing.set()
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
                if self.fault:
                    return self._misbehave(client)
                if method != "CONNECT" or host not in self.names:
                    client.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
                    return
                address, _, other = self.names[host].partition(":")
                with socket.create_connection((address, int(other or port)), 10) as server:
                    client.sendall(b"HTTP/1.1 200 yes\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                    back.start()
                    _copy(client, server)
                    back.join(10)
        except (OSError, ValueError):
            pass

    def _misbehave(self, client):
        if self.fault.endswith("behind"):
            client.sendall(b"HTTP/1.1 200 yes\r\n\r\n")
        if self.fault == "refuse":
            client.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
        elif self.fault.startswith("junk"):
            client.sendall(b"\x00\x01 neither HTTP nor TLS \r\n\r\n" * 8)
        else:
            self.closing.wait(60)


def _copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
