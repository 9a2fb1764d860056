"""nginx front ends of stream: a server per scene, on a unix socket, that says nothing of its own.

The client speaks HTTP to the backend through it; what was decided stands in the access log.
"""
import json
import re
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import net
from .fronts import LAB_POLICY, directives
from .inbound import NO_TICKETS
from .nginx import STREAM_HOST, STREAM_MODULE, Nginx
from .scenarios import NAME

LOG_FORMATS = ("log_format upstream escape=none '$strict_tls_verdict $strict_tls_reason "
               "$strict_tls_report';\n"
               "log_format client escape=none '$strict_tls_client_verdict "
               "$strict_tls_client_reason $strict_tls_client_report';\n")


# One session cache for all servers, and any version of TLS.
INBOUND = ("ssl_protocols TLSv1.2 TLSv1.3;\nssl_session_cache shared:clients:2m;\n")


@dataclass(frozen=True)
class Answer:
    """What came through a session, and what its log line says."""

    status: int  # None: the session ended without an answer
    headers: dict
    text: str
    verdict: str  # empty: none
    reason: str
    report: dict
    seconds: float


@dataclass(frozen=True)
class Visit:
    """What a client has seen of a session, and what its log line says."""

    text: str  # empty: the session ended without an answer
    resumed: bool
    session: object  # for another visit
    verdict: str  # empty: none
    reason: str
    report: dict


def inbound_server(lab, trust, *, strict=True, policy=None, verify="on", responder_url="",
                   extra=""):
    """The directives of a server that asks clients for certificates, and answers by itself."""
    lines = [f"ssl_certificate {lab.front_chain};", f"ssl_certificate_key {lab.front.key_path};",
             f"ssl_verify_client {verify};", 'return "verify=$ssl_client_verify\\n";']
    if trust:
        lines.append(f"ssl_client_certificate {trust};")
    if strict:
        lines.append(f"strict_tls_client {'on' if strict is True else strict};")
    text = "".join(f"    {line}\n" for line in lines)
    if strict:
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url, prefix="client_")
    return text + extra


def inbound_front(lab, folder, *, policy=None, **nginx):
    """A StreamFront with a server for every row that the lab was made with."""
    servers = {
        row.id: inbound_server(
            lab, lab.client_scenes[row.id].trust, policy={**(policy or {}), **row.policy},
            extra="ssl_session_tickets off;\n" if row.id in NO_TICKETS else "",
            responder_url=f"http://{net.HOST}:{lab.responder.port}")
        for row in lab.inbound}
    return StreamFront(folder, servers, extra=INBOUND, listen="ssl", log="client",
                       **nginx).start()


def server(scene, *, strict, policy=None, name=NAME, protocols="TLSv1.2 TLSv1.3",
           responder_url="", target=None, extra=""):
    """The directives of a server that passes to the scene's backend; strict as in fronts.py."""
    lines = [
        "proxy_ssl on;",
        f"proxy_pass {target or scene.backend.address};",
        f"proxy_ssl_name {name};",
        f"proxy_ssl_protocols {protocols};",
    ]
    if scene.client:
        lines += [f"proxy_ssl_certificate {scene.client};",
                  f"proxy_ssl_certificate_key {scene.client_key};"]
    if strict == "off":
        lines += ["strict_tls off;", "proxy_ssl_server_name on;"]
    else:
        lines += [f"strict_tls {'on' if strict is True else strict};",
                  f"strict_tls_trusted_certificate {scene.trust};"]
    text = "".join(f"    {line}\n" for line in lines)
    if strict != "off":
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url)
    return text + extra


def _is_whole(content):
    """Whether the answer has come to its end without the connection."""
    head, _, body = content.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(length) and len(body) >= int(length[1])


class StreamFront(Nginx):
    """servers: {id: directives}; extra: what the stream block has besides; listen: parameters;
    log: about whom, "upstream" or "client"."""

    def __init__(self, folder, servers, *, module=STREAM_MODULE, extra="", listen="",
                 log="upstream", **nginx):
        super().__init__(folder, "stream", module=[*STREAM_HOST, module], **nginx)
        # Their names are short, which pytest's folders are not.
        self._sockets = Path(tempfile.mkdtemp(prefix="strict-tls-"))
        self._listen = listen
        self._about = log
        self.rewrite(servers, extra)

    def rewrite(self, servers, extra=""):
        text = "".join(
            f"server {{\n    listen unix:{self._socket(id)} {self._listen};\n"
            f"    access_log {self._log(id)} {self._about};\n{lines}}}\n"
            for id, lines in servers.items())
        self.configure("", main=f"stream {{\n{LOG_FORMATS}{extra}\n{text}}}\n")

    def stop(self, *args):
        status = super().stop(*args)
        shutil.rmtree(self._sockets, ignore_errors=True)
        return status

    def _socket(self, id):
        return self._sockets / id

    def _log(self, id):
        return self.folder / f"{id}.log"

    def lines(self, id):
        """Of its access log: one for each session that has ended."""
        return net.whole_lines(self._log(id)).splitlines()

    def connect(self, id, timeout_s=net.PATIENCE_S):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout_s)
        client.connect(str(self._socket(id)))
        return client

    def get(self, id, timeout_s=net.PATIENCE_S, first=b""):
        """One request, after the bytes `first`, in a session of its own."""
        before = len(self.lines(id))
        started = time.monotonic()
        content = b""
        with self.connect(id, timeout_s) as client:
            try:
                client.sendall(first + f"GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
                while not _is_whole(content) and (data := client.recv(65536)):
                    content += data
            except (BrokenPipeError, ConnectionResetError):
                pass  # it ended before the request was there
        took = time.monotonic() - started
        verdict, reason, report = self._told(id, before)
        head, _, body = content.decode("utf-8", "replace").partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        return Answer(
            int(status.split()[1]) if status else None,
            {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)},
            body, verdict, reason, report, took)

    def _told(self, id, before):
        """(verdict, reason, report) of the first session after so many."""
        line = net.wait_until(lambda: self.lines(id)[before:], f"the log line of {id}")[0]
        verdict, reason, report = line.split(" ", 2)
        return verdict, reason, json.loads(report) if report else {}

    def visit(self, id, client, session=None, timeout_s=net.PATIENCE_S):
        """What a tls_client.Client is told by a server made by inbound_server()."""
        before = len(self.lines(id))
        text, resumed, fresh = b"", False, None
        plain = self.connect(id, timeout_s)
        try:
            with client.wrap(plain, None, session) as tls:
                resumed = tls.session_reused
                fresh = tls.session
                while data := tls.recv(65536):
                    text += data
                    fresh = tls.session  # a connection that ends may take it along
                tls.unwrap()
        except OSError:  # refused, which TLS 1.3 may tell at any time
            pass
        finally:
            plain.close()
        return Visit(text.decode(), resumed, fresh, *self._told(id, before))


def scenario_front(lab, folder, *, versions=(("", "TLSv1.2 TLSv1.3"),), policy=None, **nginx):
    """A StreamFront with a server ID for every scenario, per TLS version under its prefix."""
    servers = {
        prefix + scenario.id: server(
            lab.scenes[scenario.id], strict=True, policy={**(policy or {}), **scenario.policy},
            name=scenario.name, protocols=protocols,
            responder_url=f"http://{net.HOST}:{lab.responder.port}")
        for prefix, protocols in versions for scenario in lab.scenarios}
    return StreamFront(folder, servers, **nginx).start()
