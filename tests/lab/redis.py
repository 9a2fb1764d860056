"""A redis-server of our own, and just enough of its protocol to look inside."""
import socket
from pathlib import Path

from . import net
from .process import Process


class Redis:
    def __init__(self, folder):
        self.port = net.free_port()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            ["/usr/bin/redis-server", "--port", self.port, "--bind", net.HOST, "--save", "",
             "--appendonly", "no", "--dir", folder, "--daemonize", "no"],
            folder=folder, name="redis", ports=[self.port])

    def __enter__(self):
        self._process.wait_ready()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self._process.stop()

    def ask(self, *words):
        """The answer to one command: bytes, an int, None or a list of them."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection((net.HOST, self.port), timeout=5) as connection:
            connection.sendall(b"*%d\r\n" % len(words)
                               + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            with connection.makefile("rb") as reader:
                return self._read(reader)

    def _read(self, reader):
        line = reader.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._read(reader) for _ in range(int(rest))]
        return rest

    def entries(self):
        return {key: self.ask("GET", key) for key in self.ask("KEYS", "*")}

    def overwrite(self, value):
        """Every entry, its time to live kept."""
        for key in self.ask("KEYS", "*"):
            self.ask("SET", key, value, "KEEPTTL")
