"""What mail, directory and file servers say behind TLS: enough for one whole transfer of curl's.

Each is a function of a stream and the TLS context; TlsServer runs one behind
the handshake.
"""
import socket

from . import net

TEXT = b"From: lab\r\n\r\nhello\r\n"


def imap(stream, context):
    while line := stream.hear():
        tag, _, command = line.decode().strip().partition(" ")
        command = command.upper()
        if command.startswith("CAPABILITY"):
            stream.say("* CAPABILITY IMAP4rev1", f"{tag} OK")
        elif command.startswith("UID FETCH"):
            stream.write(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n" % (len(TEXT), TEXT))
            stream.say(f"{tag} OK")
        elif command.startswith("LOGOUT"):
            stream.say("* BYE", f"{tag} OK")
            return
        else:  # LOGIN, SELECT
            stream.say(f"{tag} OK")


def imaps(stream, context):
    stream.say("* OK lab")
    imap(stream, context)


def pop3(stream, context):
    while line := stream.hear():
        if line.startswith(b"CAPA"):
            stream.say("+OK", "USER", ".")
        elif line.startswith(b"RETR"):
            stream.write(b"+OK\r\n" + TEXT + b".\r\n")
        elif line.startswith(b"QUIT"):
            stream.say("+OK")
            return
        else:  # USER, PASS
            stream.say("+OK")


def pop3s(stream, context):
    stream.say("+OK lab")
    pop3(stream, context)


def smtp(stream, context):
    while line := stream.hear():
        if line.startswith(b"DATA"):
            stream.say("354 go ahead")
            while stream.hear() != b".\r\n":
                pass
            stream.say("250 kept")
        elif line.startswith(b"QUIT"):
            stream.say("221 bye")
            return
        else:  # EHLO, MAIL, RCPT
            stream.say("250 lab")


def smtps(stream, context):
    stream.say("220 lab ESMTP")
    smtp(stream, context)


def ftp(stream, context):
    """The data connection is one more TLS peer, on a port of its own."""
    listener = None
    while line := stream.hear():
        word = line.split()[0].decode().upper()
        if word == "EPSV":
            listener = socket.create_server((net.HOST, net.free_port()))
            stream.say(f"229 go ahead (|||{listener.getsockname()[1]}|)")
        elif word == "RETR":
            stream.say("150 here it comes")
            with listener, listener.accept()[0] as plain:
                with context.wrap_socket(plain, server_side=True) as data:
                    data.sendall(TEXT)
                    data.unwrap()
            stream.say("226 done")
        elif word == "QUIT":
            stream.say("221 bye")
            return
        else:
            stream.say({"USER": "331 password?", "PASS": "230 welcome", "PWD": '257 "/"',
                        "SIZE": f"213 {len(TEXT)}"}.get(word, "200 as you like"))


def ftps(stream, context):
    stream.say("220 lab")
    ftp(stream, context)


def ldaps(stream, context):
    """Binds anybody (RFC 4511 section 4.2), and finds one entry (section 4.5)."""
    def message(number, tag, *values):
        body = b"".join(values)
        inner = b"\x02\x01" + bytes([number, tag, len(body)]) + body
        return b"\x30" + bytes([len(inner)]) + inner

    def octets(text):
        return b"\x04" + bytes([len(text)]) + text

    success = b"\x0a\x01\x00" + octets(b"") * 2
    while request := stream.read():
        number, tag = request[4], request[5]
        if tag == 0x60:
            stream.write(message(number, 0x61, success))
        elif tag == 0x63:
            # Two records: libcurl forgets what else is in the one that it has read.
            stream.write(message(number, 0x64, octets(b"cn=lab"), b"\x30\x00"))
            stream.write(message(number, 0x65, success))
        else:
            return


def http(stream, context):
    """One answer, then the end."""
    while stream.hear() not in (b"\r\n", b""):
        pass
    stream.say("HTTP/1.1 200 OK", "Content-Length: 6", "Connection: close", "")
    stream.write(b"hello\n")
