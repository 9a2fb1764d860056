"""nginx front ends: the same locations, once as stock nginx has them and once strict."""
from . import net
from .nginx import MODULE, Nginx
from .scenarios import NAME

# Responders are on loopback here; the rest keeps a silent one from taking long.
LAB_POLICY = {"fetch_deny": "none", "fetch_timeout_ms": "5000"}

STRICT_HEADERS = """
    add_header X-Strict-TLS-Verdict $strict_tls_verdict always;
    add_header X-Strict-TLS-Reason $strict_tls_reason always;
    add_header X-Strict-TLS-Report $strict_tls_report always;
"""


# What a location needs to keep connections alive.
ALIVE = '    proxy_http_version 1.1;\n    proxy_set_header Connection "";\n'

# From closest to stock nginx to farthest, each a way to name the peer; of http and of stream.
POOLS = {
    "implicit": None,
    "upstream": "upstream pool {{ server {address}; }}\n",
    "zone": "upstream pool {{ zone pool 64k; server {address}; }}\n",
    "least_conn": "upstream pool {{ least_conn; server {address}; }}\n",
}

# Of a peer whose responder is silent, where soft revocation accepts it: (fields, reason).
OTHER_POLICIES = {
    "revocation": ({"policy": {"revocation": "hard"}}, "fetch.timeout"),
    "chain_root": ({"policy": {"revocation": "soft", "chain_root": "require"}},
                   "chain.root_missing"),
    "name": ({"policy": {"revocation": "soft"}, "name": "other.lab.test"}, "name.mismatch"),
}


def pool_of(kind, peer, pools=POOLS):
    """(text for the http or stream block, target) of a way to name the peer."""
    if pools[kind] is None:
        return "", None
    return pools[kind].format(address=peer.backend.address), "pool"


def keepalive_pool(peer, name="pool", more=""):
    return f"upstream {name} {{ server {peer.backend.address}; {more} keepalive 8; }}\n"


def directives(policy, responder_url="", prefix=""):
    """Policy keys as nginx directives; prefix "client_": for those about clients."""
    return "".join(f"    strict_tls_{prefix}{key} {value.format(url=responder_url)};\n"
                   for key, value in policy.items())


def location(path, scene, *, strict, policy=None, name=NAME, protocols="TLSv1.2 TLSv1.3",
             responder_url="", kind="proxy", extra="", target=None):
    """A location that passes to the scene's backend.

    strict False: verification as a careful admin sets it up today; True or
    "report": strict_tls with the lab's policy and `policy` on top; "off":
    strict_tls off and no verification at all.
    """
    scheme = {"proxy": "https://", "grpc": "grpcs://", "uwsgi": "suwsgi://"}[kind]
    target = target or scene.backend.address
    lines = [
        f"{kind}_pass {scheme}{target}{'/' if kind == 'proxy' and '$' not in target else ''};",
        f"{kind}_ssl_name {name};",
        f"{kind}_ssl_protocols {protocols};",
    ]
    if scene.client:
        lines += [f"{kind}_ssl_certificate {scene.client};",
                  f"{kind}_ssl_certificate_key {scene.client_key};"]
    if strict == "off":
        lines += ["strict_tls off;", f"{kind}_ssl_server_name on;"]
    elif strict:
        lines += [f"strict_tls {'on' if strict is True else strict};",
                  f"strict_tls_trusted_certificate {scene.trust};"]
    else:
        lines += [f"{kind}_ssl_verify on;", f"{kind}_ssl_verify_depth 9;",
                  f"{kind}_ssl_trusted_certificate {scene.trust};",
                  f"{kind}_ssl_server_name on;"]
    text = "".join(f"    {line}\n" for line in lines)
    if strict and strict != "off":
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url)
    return f"location {path} {{\n{text}{extra}}}\n"


def server(port, locations, extra="", listen=""):
    return f"server {{\nlisten {net.HOST}:{port} {listen};\n{extra}\n{''.join(locations)}}}\n"


def http(*servers, strict=True, extra=""):
    """The http block's content; strict servers tell their verdicts in headers."""
    return (STRICT_HEADERS if strict else "") + extra + "\n" + "".join(servers)


def scenario_front(lab, folder, *, strict, versions=(("", "TLSv1.2 TLSv1.3"),), policy=None,
                   kind="proxy", module=MODULE, **nginx):
    """(nginx, port) with a location /ID for every scenario, per TLS version under its prefix."""
    locations = []
    for prefix, protocols in versions:
        for scenario in lab.scenarios:
            locations.append(location(
                f"= {prefix}/{scenario.id}", lab.scenes[scenario.id], strict=strict,
                policy={**(policy or {}), **scenario.policy}, name=scenario.name,
                protocols=protocols, kind=kind,
                responder_url=f"http://{net.HOST}:{lab.responder.port}"))
    port = net.free_port()
    front = Nginx(folder, "strict" if strict else "stock",
                  module=module if strict else None, **nginx)
    front.configure(http(server(port, locations), strict=strict))
    front.start([port])
    return front, port
