"""A TLS client that presents whatever it is given, and HTTP on top of it.

OpenSSL sends the certificates of a PEM file in the file's order, adds none as
long as it trusts none, and checks nothing about them at security level 0.
"""
import http.client
import json
import os
import socket
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import net

_WEAK = Path(__file__).with_name("weak.cnf")

VERSIONS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Answer:
    """What came of a request, or of the attempt at one."""

    status: int = None  # None: there was no answer
    headers: dict = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    error: str = ""  # why there was none: "TLSV13_ALERT_CERTIFICATE_REQUIRED", "closed", ...


class Connection:
    """Made by Client.connect(); requests follow each other on it."""

    def __init__(self, tls, name):
        self.tls = tls
        self.name = name
        self.reused = tls.session_reused
        self._session = tls.session
        self._http = http.client.HTTPConnection(net.HOST)
        self._http.sock = tls
        self._http.auto_open = 0

    def get(self, path="/", host=None, headers=None):
        """One request; host: another than the name in the handshake."""
        try:
            self._http.request("GET", path, headers={"Host": host or self.name, **(headers or {})})
            answer = self._http.getresponse()
            self._session = self.tls.session  # an answer that closes takes it along
            body = answer.read()
        except (OSError, http.client.HTTPException) as failure:
            return Answer(error=_word(failure))
        return Answer(answer.status,
                      {name.lower(): value for name, value in answer.getheaders()}, body)

    @property
    def version(self):
        return self.tls.version()

    @property
    def session(self):
        """For Client.connect(); in TLS 1.3 it is there once something was read."""
        return self._session

    def close(self):
        self.tls.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Client:
    """One certificate chain, or none; sessions of its connections are good for one another."""

    def __init__(self, chain=None, key=None, *, version=None, tickets=True, timeout_s=net.PATIENCE_S,
                 post_handshake=False, alpn=()):
        """version: a key of VERSIONS; tickets False: TLS 1.2 resumes by session id;
        post_handshake: authenticates itself in TLS 1.3 when it is asked to later."""
        self._timeout_s = timeout_s
        self._context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.post_handshake_auth = post_handshake
        if version:
            context.minimum_version = context.maximum_version = VERSIONS[version]
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
        if chain:
            context.load_cert_chain(chain, key)

    def connect(self, port, name, session=None):
        """name: in the handshake (SNI); None: none.  Raises OSError where the handshake fails."""
        plain = socket.create_connection((net.HOST, port), timeout=self._timeout_s)
        try:
            return Connection(self.wrap(plain, name, session), name)
        except BaseException:
            plain.close()
            raise

    def wrap(self, plain, name, session=None):
        """TLS on a connected socket."""
        return self._context.wrap_socket(plain, server_hostname=name, session=session)

    def get(self, port, name, path="/", *, session=None, **options):
        """One request on a connection of its own.  In TLS 1.3 a refusal comes with the answer."""
        try:
            with self.connect(port, name, session) as connection:
                return connection.get(path, **options)
        except OSError as failure:
            return Answer(error=_word(failure))


def _word(failure):
    if isinstance(failure, ssl.SSLError) and failure.reason:
        return failure.reason
    if isinstance(failure, (http.client.RemoteDisconnected, ssl.SSLEOFError, ConnectionError,
                            BrokenPipeError)):
        return "closed"
    return str(failure) or type(failure).__name__


# A JSON object for each request.
_WRITE_OUT = ('{"status": "%{http_code}", "version": "%{http_version}", "exit": %{exitcode}, '
              '"connects": %{num_connects}, "headers": %{header_json}}')


def get_http2(port, name, chain=None, key=None, *, version="tls13", path="/", hosts=(None,),
              rate=None):
    """Answers to requests over HTTP/2 on one connection; hosts: of them, None for `name`;
    rate: no more of them than this, as in "1/s".

    A request that needed another connection fails here.
    """
    words = []
    for number, host in enumerate(hosts):
        words += ["--next"] if number else ["--rate", rate] if rate else []
        words += _curl_words(port, name, chain, key, version) + ["-w", _WRITE_OUT]
        words += ["-H", f"Host: {host}"] if host else []
        words += ["-o", "/dev/null", f"https://{name}:{port}{path}"]
    done = _curl(words)
    answers, end = [], 0
    while end < len(done.stdout):
        told, end = json.JSONDecoder().raw_decode(done.stdout, end)
        assert told["connects"] == (0 if answers else 1), done.stdout
        if told["exit"]:
            answers.append(Answer(error=f"curl: {told['exit']}"))
            continue
        assert told["version"] == "2", done.stdout
        answers.append(Answer(int(told["status"]), {key: ", ".join(values) for key, values
                                               in told["headers"].items()}))
    assert len(answers) == len(hosts), done.stderr
    return answers


def get_parallel(port, name, chain, key, number):
    """Statuses of so many requests at the same time over HTTP/2 on one connection."""
    done = _curl(["--parallel", *_curl_words(port, name, chain, key, "tls13"),
                  "-w", "%{http_version} %{http_code} %{num_connects}\\n",
                  *[word for i in range(number)
                    for word in ("-o", "/dev/null", f"https://{name}:{port}/{i}")]])
    told = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert [row[0] for row in told] == [2] * number and sum(row[2] for row in told) == 1, done
    return [row[1] for row in told]


def _curl_words(port, name, chain, key, version):
    return ["-sS", "-k", "--http2", "--resolve", f"{name}:{port}:{net.HOST}",
            "--tlsv1.2", "--tls-max", {"tls12": "1.2", "tls13": "1.3"}[version],
            *(["--cert", str(chain), "--key", str(key)] if chain else [])]


def _curl(words):
    return subprocess.run(["curl", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "OPENSSL_CONF": str(_WEAK)})
