"""A programmable OCSP responder: http://127.0.0.1:PORT/PLACE behaves as PLACE was told to.

It answers GET (RFC 6960 appendix A) and POST for every certificate it was made
to know, and remembers what it was asked.
"""
import base64
import binascii
import select
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from . import net, ocsp_answer
from .ocsp_answer import Answer, Signers

MEGABYTE = b"\0" * 2**20


@dataclass(frozen=True)
class Behaviour:
    """How one place answers: the answer itself, and the manner of its delivery."""

    answer: Answer = field(default_factory=Answer)
    manner: str = "plain"  # a key of MANNERS
    delay_s: float = 0  # before anything is sent
    status: int = 200
    location: str = ""  # of a redirect
    version: str = "HTTP/1.1"
    content_type: str = "application/ocsp-response"
    size: int = 0  # of an oversize body
    after: int = 0  # from the request after this many on, behave as `then`
    then: "Behaviour" = None

    def but(self, **changes):
        return replace(self, **changes)


def said(**changes):
    return Behaviour(Answer(**changes))


DAY = 86400

# Every behaviour that a scenario can name.
BEHAVIOURS = {
    "good": Behaviour(),
    "good_by_name": said(by_key=False),
    "revoked": said(status="revoked"),
    "unknown": said(status="unknown"),
    "delegated": said(signer="delegated"),
    "unauthorized_usage": said(signer="no_usage"),
    "unauthorized_ca": said(signer="other_ca"),
    "self_vouching": said(signer="self"),
    "bad_signature": said(damage="signature"),
    "wrong_certificate": said(about="other"),
    "other_first": said(about="other_first"),
    "revoked_behind_other": said(about="other_first", status="revoked"),
    "empty_list": said(about="nobody"),
    "stale": said(this_update_s=-3 * DAY, next_update_s=-DAY),
    "future": said(this_update_s=DAY, next_update_s=3 * DAY),
    "no_next_update": said(next_update_s=None),
    "old_no_next_update": said(this_update_s=-30 * DAY, next_update_s=None),
    "try_later": said(error=ocsp_answer.TRY_LATER),
    "unauthorized": said(error=ocsp_answer.UNAUTHORIZED),
    "internal_error": said(error=ocsp_answer.INTERNAL_ERROR),
    "malformed": said(damage="inside"),
    "truncated": said(damage="truncate"),
    "garbage": said(damage="garbage"),
    "trailing": said(damage="trailing"),
    "nonce_none": said(nonce="none"),
    "nonce_wrong": said(nonce="wrong"),
    "late": Behaviour(delay_s=0.3),
    "http_1_0": Behaviour(version="HTTP/1.0"),
    "chunked": Behaviour(manner="chunked"),
    "text": Behaviour(content_type="text/html; charset=utf-8"),
    "interim": Behaviour(manner="interim"),
    "large_header": Behaviour(manner="large_header"),
    "two_lengths": Behaviour(manner="two_lengths"),
    "length_and_chunks": Behaviour(manner="length_and_chunks"),
    "negative_chunk": Behaviour(manner="negative_chunk"),
    "until_close": Behaviour(manner="until_close"),
    "silent": Behaviour(manner="silent"),
    "hold": Behaviour(manner="hold"),
    "close": Behaviour(manner="close"),
    "reset": Behaviour(manner="reset"),
    "cut": Behaviour(manner="cut"),
    "oversize": Behaviour(manner="oversize", size=10 * 2**20),
    "endless": Behaviour(manner="endless"),
    "endless_header": Behaviour(manner="endless_header"),
    "drip": Behaviour(manner="drip"),
    "not_http": Behaviour(manner="not_http"),
    "http_500": Behaviour(status=500),
    "http_404": Behaviour(status=404),
    "redirect": Behaviour(status=302, location="/good"),
}


@dataclass(frozen=True)
class Hit:
    place: str
    method: str
    serial: int  # None where the request was not understood
    at_s: float  # time.monotonic()


class Responder:
    def __init__(self):
        self.port = net.free_port()
        self.signers = Signers()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._known = {}
        self._places = dict(BEHAVIOURS)
        self._counts = Counter()
        self._released = {}
        self.hits = []
        self._server = _Server((net.HOST, self.port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def url(self, place):
        return f"http://{net.HOST}:{self.port}/{place}"

    def know(self, *entities):
        """Certificates that questions are answered about."""
        with self._lock:
            for entity in entities:
                self._known[entity.serial] = entity

    def place(self, name, behaviour):
        """What /name does from now on: a Behaviour or the name of one."""
        with self._lock:
            self._places[name] = (BEHAVIOURS[behaviour] if isinstance(behaviour, str)
                                  else behaviour)
            self._counts[name] = 0
            self._released[name] = threading.Event()

    def release(self, name):
        """Lets a place that holds its answers back give them."""
        self._released[name].set()

    def count(self, place, method=None):
        with self._lock:
            return sum(hit.place == place and method in (None, hit.method) for hit in self.hits)

    def forget(self):
        with self._lock:
            self.hits.clear()

    def answer(self, entity, behaviour="good"):
        """DER of an answer about `entity` without a request: what a server staples."""
        if isinstance(behaviour, str):
            behaviour = BEHAVIOURS[behaviour]
        question = ocsp_answer.Question(entity.serial)
        return self._build(behaviour.answer, entity, question)

    def _build(self, answer, entity, question):
        # Any other serial that starts alike: a comparison of prefixes falls for it.
        other = question.serial << 8 | 1 if question.serial.bit_length() < 150 \
            else question.serial >> 8
        return ocsp_answer.build(answer, entity, question, self.signers, other)

    def _take(self, place, method, request):
        """Counts the request; (behaviour, DER of the answer), behaviour None if unknown."""
        try:
            question = ocsp_answer.parse_question(request)
        except ValueError:
            question = None
        with self._lock:
            behaviour = self._places.get(place)
            self._counts[place] += 1
            seen = self._counts[place]
            self.hits.append(Hit(place, method, question and question.serial, time.monotonic()))
            entity = self._known.get(question.serial) if question else None
        while behaviour and behaviour.then and seen > behaviour.after:
            behaviour = behaviour.then
        if behaviour is None:
            return None, b""
        if entity is None:
            refusal = ocsp_answer.UNAUTHORIZED if question else ocsp_answer.MALFORMED_REQUEST
            return behaviour, ocsp_answer.build(Answer(error=refusal), None, None, None, 0)
        return behaviour, self._build(behaviour.answer, entity, question)

    def _issuer(self, name):
        """(content type, bytes) of a CA certificate as LABEL.der, .pem or .p7c; or None."""
        label, _, kind = name.rpartition(".")
        with self._lock:
            entity = next((entity for entity in self._known.values() if entity.label == label),
                          None)
        if entity is None:
            return None
        if kind == "pem":
            return "application/x-pem-file", entity.pem
        if kind == "p7c":
            return "application/pkcs7-mime", pkcs7.serialize_certificates([entity.cert],
                                                                          Encoding.DER)
        return "application/pkix-cert", entity.der


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address, responder):
        self.responder = responder
        super().__init__(address, _Handler)

    def handle_error(self, request, client_address):
        """Peers that go away in the middle are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "lab"

    def log_message(self, *args):
        pass

    def do_GET(self):
        # A proxy may hand on the absolute form.
        path = self.path
        if path.startswith("http://"):
            path = "/" + path[7:].partition("/")[2]
        place, _, rest = path.lstrip("/").partition("/")
        if place == "ca":
            return self._send_issuer(rest)
        try:
            request = base64.b64decode(unquote(rest), validate=True)
        except (binascii.Error, ValueError):
            request = b""
        self._answer(place, request)

    def do_POST(self):
        place = self.path.lstrip("/").partition("/")[0]
        self._answer(place, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _send_issuer(self, name):
        responder = self.server.responder
        with responder._lock:
            responder.hits.append(Hit("ca", "GET", None, time.monotonic()))
        found = responder._issuer(name)
        content_type, body = found or ("text/plain", b"no such issuer\n")
        self._send(200 if found else 404, body, content_type)

    def _answer(self, place, request):
        responder = self.server.responder
        behaviour, body = responder._take(place, self.command, request)
        if behaviour is None:
            return self._send(404, b"no such place\n", "text/plain")
        if behaviour.delay_s and responder.stopping.wait(behaviour.delay_s):
            return
        if behaviour.manner == "hold":
            self._linger(responder._released[place])
        MANNERS[behaviour.manner](self, behaviour, body)

    def _send(self, status, body, content_type, location="", version="HTTP/1.1"):
        self.protocol_version = version
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        if version == "HTTP/1.0":
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def _plain(self, behaviour, body):
        if behaviour.status != 200:
            body = b"no answer here\n"
        self._send(behaviour.status, body, behaviour.content_type, behaviour.location,
                   behaviour.version)

    def _head(self, *headers):
        self.close_connection = True
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/ocsp-response", *headers, "", ""]
        self.wfile.write("\r\n".join(lines).encode())

    def _chunked(self, behaviour, body):
        """Whatever the request's version, as some servers do against RFC 9112 section 6.1."""
        self._head("Transfer-Encoding: chunked")
        self._send_chunks(body)

    def _send_chunks(self, body):
        half = len(body) // 2
        for part in (body[:half], body[half:]):
            self.wfile.write(b"%x;note=1\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _interim(self, behaviour, body):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self._plain(behaviour, body)

    def _large_header(self, behaviour, body):
        self._head(*(f"X-{n}: " + "x" * 1000 for n in range(20)), f"Content-Length: {len(body)}")
        self.wfile.write(body)

    def _two_lengths(self, behaviour, body):
        self._head(f"Content-Length: {len(body)}", f"Content-Length: {len(body) + 1}")
        self.wfile.write(body)

    def _length_and_chunks(self, behaviour, body):
        self._head(f"Content-Length: {len(body)}", "Transfer-Encoding: chunked")
        self._send_chunks(body)

    def _negative_chunk(self, behaviour, body):
        self._head("Transfer-Encoding: chunked")
        self.wfile.write(b"-%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def _until_close(self, behaviour, body):
        self._head("Connection: close")
        self.wfile.write(body)

    def _silent(self, behaviour, body):
        self._linger(threading.Event())
        self.close_connection = True

    def _close(self, behaviour, body):
        self.close_connection = True

    def _reset(self, behaviour, body):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _cut(self, behaviour, body):
        self._head(f"Content-Length: {len(body)}")
        self.wfile.write(body[:-10])

    def _oversize(self, behaviour, body):
        self._head(f"Content-Length: {behaviour.size}")
        self._pour(lambda sent: MEGABYTE if sent < behaviour.size else b"")

    def _endless(self, behaviour, body):
        self._head("Connection: close")
        self.wfile.write(b"\x30\x84\x7f\xff\xff\xff")  # DER that promises two gigabytes
        self._pour(lambda sent: MEGABYTE)

    def _endless_header(self, behaviour, body):
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._pour(lambda sent: b"X-More: " + b"x" * 4096 + b"\r\n")

    def _drip(self, behaviour, body):
        self._head(f"Content-Length: {len(body)}")
        for byte in body:
            self.wfile.write(bytes([byte]))
            if self.server.responder.stopping.wait(1.0):
                return

    def _not_http(self, behaviour, body):
        self.close_connection = True
        self.wfile.write(b"220 lab ESMTP ready\r\n" + body)

    def _pour(self, more):
        sent = 0
        while not self.server.responder.stopping.is_set():
            block = more(sent)
            if not block:
                return
            self.wfile.write(block)
            sent += len(block)

    def _linger(self, released):
        """Until released, or the peer closes, or the lab ends."""
        stopping = self.server.responder.stopping
        while not released.is_set() and not stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.02)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return


MANNERS = {
    "plain": _Handler._plain,
    "hold": _Handler._plain,
    "chunked": _Handler._chunked,
    "interim": _Handler._interim,
    "large_header": _Handler._large_header,
    "two_lengths": _Handler._two_lengths,
    "length_and_chunks": _Handler._length_and_chunks,
    "negative_chunk": _Handler._negative_chunk,
    "until_close": _Handler._until_close,
    "silent": _Handler._silent,
    "close": _Handler._close,
    "reset": _Handler._reset,
    "cut": _Handler._cut,
    "oversize": _Handler._oversize,
    "endless": _Handler._endless,
    "endless_header": _Handler._endless_header,
    "drip": _Handler._drip,
    "not_http": _Handler._not_http,
}
