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
from .nginx import STREAM_HOST, STREAM_MODULE, Nginx
from .scenarios import NAME

LOG_FORMAT = ("log_format verdict escape=none '$strict_tls_verdict $strict_tls_reason "
              "$strict_tls_report';\n")


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
    """servers: {id: directives}; extra: what the stream block has besides; listen: parameters."""

    def __init__(self, folder, servers, *, module=STREAM_MODULE, extra="", listen="", **nginx):
        super().__init__(folder, "stream", module=[STREAM_HOST, module], **nginx)
        # Their names are short, which pytest's folders are not.
        self._sockets = Path(tempfile.mkdtemp(prefix="strict-tls-"))
        self._listen = listen
        self.rewrite(servers, extra)

    def rewrite(self, servers, extra=""):
        text = "".join(
            f"server {{\n    listen unix:{self._socket(id)} {self._listen};\n"
            f"    access_log {self._log(id)} verdict;\n{lines}}}\n"
            for id, lines in servers.items())
        self.configure("", main=f"stream {{\n{LOG_FORMAT}{extra}\n{text}}}\n")

    def stop(self, *args):
        status = super().stop(*args)
        shutil.rmtree(self._sockets, ignore_errors=True)
        return status

    def _socket(self, id):
        return self._sockets / id

    def _log(self, id):
        return self.folder / f"{id}.log"

    def _lines(self, id):
        log = self._log(id)
        return log.read_text().splitlines() if log.exists() else []

    def connect(self, id, timeout_s=20.0):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout_s)
        client.connect(str(self._socket(id)))
        return client

    def get(self, id, timeout_s=20.0, first=b""):
        """One request, after the bytes `first`, in a session of its own."""
        before = len(self._lines(id))
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
        line = net.wait_until(lambda: self._lines(id)[before:], f"the log line of {id}")[0]
        verdict, reason, report = line.split(" ", 2)
        head, _, body = content.decode("utf-8", "replace").partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        return Answer(
            int(status.split()[1]) if status else None,
            {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)},
            body, verdict, reason, json.loads(report) if report else {}, took)


def scenario_front(lab, folder, *, versions=(("", "TLSv1.2 TLSv1.3"),), policy=None, **nginx):
    """A StreamFront with a server ID for every scenario, per TLS version under its prefix."""
    servers = {
        prefix + scenario.id: server(
            lab.scenes[scenario.id], strict=True, policy={**(policy or {}), **scenario.policy},
            name=scenario.name, protocols=protocols,
            responder_url=f"http://{net.HOST}:{lab.responder.port}")
        for prefix, protocols in versions for scenario in lab.scenarios}
    return StreamFront(folder, servers, **nginx).start()
