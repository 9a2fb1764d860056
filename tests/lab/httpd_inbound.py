"""httpd servers that demand client certificates: one virtual host for each row of inbound.py."""
from . import net
from .fronts import LAB_POLICY
from .httpd import MODULE, Httpd
from .httpd_fronts import directive
from .inbound import server_name

# What stock httpd tells about the connection.
HEADERS = """
SSLSessionCache shmcb:ssl_cache(512000)
Header always set X-Session-Reused "%{SSL_SESSION_RESUMED}s"
Header always set X-Client "%{SSL_CLIENT_S_DN}s"
Header always set X-Verify "%{SSL_CLIENT_VERIFY}s"
Header always set X-Protocol "%{SSL_PROTOCOL}s"
"""

CLIENT_HEADERS = """
Header always set X-Strict-TLS-Verdict "expr=%{reqenv:STRICT_TLS_CLIENT_VERDICT}"
Header always set X-Strict-TLS-Reason "expr=%{reqenv:STRICT_TLS_CLIENT_REASON}"
Header always set X-Strict-TLS-Report "expr=%{reqenv:STRICT_TLS_CLIENT_REPORT}"
"""


def directives(policy, responder_url=""):
    return "".join(f"{directive(key).replace('StrictTLS', 'StrictTLSClient', 1)} "
                   f"{value.format(url=responder_url)}\n" for key, value in policy.items())


def vhost(lab, port, name, trust, *, strict=True, policy=None, verify="require", depth=9,
          responder_url="", extra=""):
    """A virtual host; strict: True, "report", False (no directive of the module at all), "off"."""
    lines = [
        f"ServerName {name}", "SSLEngine on", f"SSLCertificateFile {lab.front_chain}",
        f"SSLCertificateKeyFile {lab.front.key_path}",
        f'Header always set X-Host "{name}"',
        "<Location />\nSetHandler server-status\n</Location>",
    ]
    if trust:
        lines.append(f"SSLCACertificateFile {trust}")
    if verify:
        lines.append(f"SSLVerifyClient {verify}")
    if depth:
        lines.append(f"SSLVerifyDepth {depth}")
    if strict:
        lines.append(f"StrictTLSClient {'on' if strict is True else strict}")
    text = "\n".join(lines) + "\n"
    if strict in (True, "report"):
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url)
    return f"<VirtualHost {net.HOST}:{port}>\n{text}{extra}\n</VirtualHost>\n"


def configure(front, port, vhosts, *, main=""):
    http2 = "" if front.mpm == "prefork" else "Protocols h2 http/1.1\n"
    front.configure("".join(vhosts), main=(
        f"Listen {net.HOST}:{port}\n{http2}{HEADERS}"
        f"{CLIENT_HEADERS if front.module else ''}{main}"))


def make(folder, *, module=MODULE, mpm="event", **options):
    http2 = () if mpm == "prefork" else ("http2",)
    modules = (*options.pop("modules", ()), *http2)
    return Httpd(folder, "inbound", module=module, mpm=mpm, modules=modules, **options)


def inbound_front(lab, folder, *, strict=True, policy=None, module=MODULE, **options):
    """(httpd, port) with a virtual host for every row that the lab was made with."""
    port = net.free_port()
    front = make(folder, module=module if strict else None, **options)
    configure(front, port, [
        vhost(lab, port, server_name(row.id), lab.client_scenes[row.id].trust, strict=strict,
              policy={**(policy or {}), **row.policy},
              responder_url=f"http://{net.HOST}:{lab.responder.port}")
        for row in lab.inbound])
    front.start([port])
    return front, port
