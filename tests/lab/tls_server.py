"""A small TLS server whose chain can be swapped, with STARTTLS for mail, directory and FTP."""
import socket
import ssl
import struct
import threading

from . import net

# The client's StartTLS request (RFC 4511 section 4.14) ends in this OID.
LDAP_STARTTLS = b"1.3.6.1.4.1.1466.20037"
LDAP_SUCCESS = bytes.fromhex("300c02010178070a010004000400")


def smtp(stream):
    stream.say("220 lab ESMTP")
    while word := stream.hear():
        if word.startswith((b"EHLO", b"HELO")):
            stream.say("250-lab", "250 STARTTLS")
        elif word.startswith(b"STARTTLS"):
            stream.say("220 go ahead")
            return True
        else:
            stream.say("502 no")
    return False


def imap(stream):
    stream.say("* OK lab")
    while word := stream.hear():
        tag, _, command = word.partition(b" ")
        tag = tag.decode()
        if command.upper().startswith(b"CAPABILITY"):
            stream.say("* CAPABILITY IMAP4rev1 STARTTLS", f"{tag} OK")
        elif command.upper().startswith(b"STARTTLS"):
            stream.say(f"{tag} OK go ahead")
            return True
        else:
            stream.say(f"{tag} BAD no")
    return False


def pop3(stream):
    stream.say("+OK lab")
    while word := stream.hear():
        if word.startswith(b"CAPA"):
            stream.say("+OK", "STLS", ".")
        elif word.startswith(b"STLS"):
            stream.say("+OK go ahead")
            return True
        else:
            stream.say("-ERR no")
    return False


def ftp(stream):
    stream.say("220 lab")
    while word := stream.hear():
        if word.startswith(b"AUTH"):
            stream.say("234 go ahead")
            return True
        stream.say("530 no")
    return False


def ldap(stream):
    if LDAP_STARTTLS not in stream.read():
        return False
    stream.write(LDAP_SUCCESS)
    return True


def refusing_smtp(stream):
    """Offers no TLS."""
    stream.say("220 lab ESMTP")
    while stream.hear():
        stream.say("250 lab")
    return False


class _Stream:
    def __init__(self, connection):
        self._connection = connection

    def say(self, *lines):
        self.write("".join(f"{line}\r\n" for line in lines).encode())

    def write(self, data):
        self._connection.sendall(data)

    def read(self):
        return self._connection.recv(4096)

    def hear(self):
        line = b""
        while not line.endswith(b"\n"):
            byte = self._connection.recv(1)
            if not byte:
                return b""
            line += byte
        return line


def _refuse_by_reset(connection, context):
    """As where a close with unread bytes overtakes the alert: those of a handshake stay here."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    try:
        while True:
            try:
                return tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
    finally:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class TlsServer:
    """dialogue: one of the functions above, None for TLS at once, "silent" for no TLS at all.

    service: one of services.py's, for what comes behind the handshake.
    loses_alert: a client that is refused sees a reset connection, and no alert.
    """

    def __init__(self, chain, key, dialogue=None, *, service=None, client_ca=None, version=None,
                 loses_alert=False):
        self.port = net.free_port()
        self.finished = 0  # services that were seen through to their end
        self._service = service
        self.served = 0
        self._dialogue = dialogue
        self._client_ca = client_ca
        self._version = version
        self._loses_alert = loses_alert
        self.use(chain, key)
        self._listener = socket.create_server((net.HOST, self.port), backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self):
        return f"{net.HOST}:{self.port}"

    def use(self, chain, key):
        """From the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        if self._version:
            context.minimum_version = context.maximum_version = self._version
        if self._client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        self._context = context

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
            with connection:
                if self._dialogue == "silent":
                    connection.recv(1 << 16)
                    connection.recv(1 << 16)
                elif self._dialogue is None or self._dialogue(_Stream(connection)):
                    if self._loses_alert:
                        return _refuse_by_reset(connection, self._context)
                    with self._context.wrap_socket(connection, server_side=True) as peer:
                        self.served += 1
                        if self._service:
                            self._service(_Stream(peer), self._context)
                            self.finished += 1
                        while peer.recv(4096):
                            pass
        except OSError:
            pass  # a client that has seen enough goes away in the middle
