"""A DNS server on UDP that knows a few names (RFC 1035, A records only)."""
import socket
import struct
import threading

from . import net


class Dns:
    """names: {"responder.lab.test": "127.0.0.1"}; None as an address: never answers."""

    def __init__(self, names):
        self.names = names
        self.port = net.free_port()
        self.asked = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((net.HOST, self.port))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        # A datagram to ourselves ends the blocking read; closing alone does not.
        self._socket.sendto(b"", (net.HOST, self.port))
        self._thread.join(5)
        self._socket.close()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            answer = self._answer(query)
            if answer:
                self._socket.sendto(answer, client)

    def _answer(self, query):
        identifier, = struct.unpack("!H", query[:2])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name = ".".join(labels).lower()
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        self.asked.append(name)
        if name not in self.names:
            return struct.pack("!6H", identifier, 0x8183, 1, 0, 0, 0) + question  # NXDOMAIN
        address = self.names[name]
        if address is None:
            return None
        records = b""
        if kind == 1:
            records = struct.pack("!HHHLH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        return struct.pack("!6H", identifier, 0x8180, 1, bool(records), 0, 0) + question + records
