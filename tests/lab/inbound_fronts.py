"""nginx servers that demand client certificates: one virtual host for each row of inbound.py."""
from . import net
from .fronts import LAB_POLICY, directives
from .inbound import NO_TICKETS, server_name
from .nginx import MODULE, Nginx

CLIENT_HEADERS = """
    add_header X-Strict-TLS-Verdict $strict_tls_client_verdict always;
    add_header X-Strict-TLS-Reason $strict_tls_client_reason always;
    add_header X-Strict-TLS-Report $strict_tls_client_report always;
"""

# What stock nginx tells about the connection.
HEADERS = """
    add_header X-Session-Reused $ssl_session_reused always;
    add_header X-Client $ssl_client_s_dn always;
    add_header X-Verify $ssl_client_verify always;
    add_header X-Host $server_name always;
    add_header X-Protocol $ssl_protocol always;
"""


def server(lab, port, name, trust, *, strict, policy=None, verify="on", responder_url="",
           listen="", extra="", body=None):
    """A virtual host; strict: True, "report", False (no directive of the module at all), "off"."""
    lines = [
        f"listen {net.HOST}:{port} ssl http2 {listen};",
        f"server_name {name};",
        f"ssl_certificate {lab.front_chain};",
        f"ssl_certificate_key {lab.front.key_path};",
    ]
    if verify != "off":
        lines.append(f"ssl_verify_client {verify};")
    if verify != "off" and trust:
        lines.append(f"ssl_client_certificate {trust};")
    text = "".join(f"    {line}\n" for line in lines)
    if strict:
        text += f"    strict_tls_client {'on' if strict is True else strict};\n"
    if strict in (True, "report"):
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url, prefix="client_")
    if body is None:
        body = f'    location / {{ return 200 "{name}\\n"; }}\n'
    return f"server {{\n{text}{extra}\n{body}}}\n"


def http(*servers, strict=True, extra="", cache="shared:clients:2m"):
    """The http block's content, with one session cache and one set of ticket keys for all."""
    return (f"    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache {cache};\n"
            "    server_names_hash_max_size 4096;\n    server_names_hash_bucket_size 128;\n"
            + HEADERS + (CLIENT_HEADERS if strict else "") + extra + "\n" + "".join(servers))


def inbound_front(lab, folder, *, strict=True, policy=None, module=MODULE, **nginx):
    """(nginx, port) with a virtual host for every row that the lab was made with."""
    port = net.free_port()
    front = Nginx(folder, "inbound", module=module if strict else None, **nginx)
    front.configure(http(*[
        server(lab, port, server_name(row.id), lab.client_scenes[row.id].trust, strict=strict,
               policy={**(policy or {}), **row.policy},
               extra="ssl_session_tickets off;" if row.id in NO_TICKETS else "",
               responder_url=f"http://{net.HOST}:{lab.responder.port}")
        for row in lab.inbound], strict=strict))
    front.start([port])
    return front, port
