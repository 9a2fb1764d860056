"""Real TLS backends: one stock nginx with a server per chain."""
from dataclasses import dataclass
from pathlib import Path

from . import net
from .nginx import Nginx


@dataclass(frozen=True)
class Backend:
    name: str
    port: int
    chain: Path
    key: Path

    @property
    def address(self):
        return f"{net.HOST}:{self.port}"


class Backends:
    """Servers are added first, then all started together."""

    def __init__(self, folder):
        self._nginx = Nginx(folder, "backends")
        self._servers = []
        self._ports = []

    def add(self, name, chain, key, *, staple=None, client_ca=None, extra=""):
        """A server that answers everything with 200 and its name.

        Its headers tell about the connection: X-Session-Reused, X-Connection
        (its number), X-Connection-Requests, X-Client (subject of the client
        certificate), X-Sni and X-Protocol.
        """
        port = net.free_port()
        lines = [
            f"listen {net.HOST}:{port} ssl http2;",  # HTTP/2 for those who offer it: grpc_pass
            f"ssl_certificate {chain};",
            f"ssl_certificate_key {key};",
        ]
        if staple:
            lines += ["ssl_stapling on;", f"ssl_stapling_file {staple};"]
        if client_ca:
            lines += ["ssl_verify_client on;", "ssl_verify_depth 9;",
                      f"ssl_client_certificate {client_ca};"]
        lines += [
            extra,
            "location / {",
            f'    return 200 "backend {name}\\n";',
            "}",
        ]
        self._servers.append("server {\n    " + "\n    ".join(lines) + "\n}\n")
        self._ports.append(port)
        return Backend(name, port, chain, key)

    def start(self):
        # Level 0: the weak certificates of the lab must be served at all.
        self._nginx.configure("""
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_ciphers DEFAULT:@SECLEVEL=0;
            ssl_session_cache shared:sessions:2m;
            keepalive_requests 100000;
            add_header X-Session-Reused $ssl_session_reused always;
            add_header X-Connection $connection always;
            add_header X-Connection-Requests $connection_requests always;
            add_header X-Client $ssl_client_s_dn always;
            add_header X-Sni $ssl_server_name always;
            add_header X-Protocol $ssl_protocol always;
            """ + "".join(self._servers))
        self._nginx.start(self._ports)

    def stop(self):
        self._nginx.stop()
