"""httpd front ends: the same paths, once as stock httpd has them and once strict."""
from . import net
from .fronts import LAB_POLICY
from .httpd import MODULE, Httpd

STRICT_HEADERS = """
    Header always set X-Strict-TLS-Verdict "expr=%{reqenv:STRICT_TLS_VERDICT}"
    Header always set X-Strict-TLS-Reason "expr=%{reqenv:STRICT_TLS_REASON}"
    Header always set X-Strict-TLS-Report "expr=%{reqenv:STRICT_TLS_REPORT}"
"""

# Where stock httpd answers something else than stock nginx.  Its 500 is a failed handshake.
STOCK = {
    "wrong_name_cn": 200,  # takes the CN where it likes it better
    "wildcard_partial": 500,
    # SSLProxyMachineCertificateChainFile lands among the trusted certificates.
    "mutual_incomplete_backend": 200,
}

_SPECIAL = ("ocsp", "crl", "cn", "url", "x509")


def directive(key):
    """chain_root -> StrictTLSChainRoot, as the module writes it."""
    words = []
    for word in key.split("_"):
        if word in _SPECIAL:
            words.append(word.upper())
        elif word == "urls":
            words.append("URLs")
        else:
            words.append(word[0].upper() + word[1:])
    return "StrictTLS" + "".join(words)


def directives(policy, responder_url=""):
    return "".join(f"    {directive(key)} {value.format(url=responder_url)}\n"
                   for key, value in policy.items())


def stock_status(scenario):
    """From stock httpd, configured as a careful admin would today."""
    return STOCK.get(scenario.id, 500 if scenario.stock == 502 else scenario.stock)


def url_of(scene, name):
    return f"https://{name}:{scene.backend.port}"


def location(path, scene, *, strict, policy=None, name, responder_url="", target=None, extra="",
             match=False, parameters=""):
    """A location that passes to the scene's backend, as fronts.location() does it in nginx."""
    target = target or url_of(scene, name)
    lines = [f"ProxyPass {target}/ {parameters}" if not match else ""]
    if strict == "off":
        lines.append("StrictTLS off")
    elif strict:
        lines += [f"StrictTLS {'on' if strict is True else strict}",
                  f"StrictTLSTrustedCertificate {scene.trust}"]
    text = "".join(f"    {line}\n" for line in lines if line)
    if strict and strict != "off":
        text += directives({**LAB_POLICY, **(policy or {})}, responder_url)
    return f"<Location {path}>\n{text}{extra}</Location>\n"


def client_certificate(lab, scene, name):
    """A <Proxy> section with the host's own certificate for this backend."""
    pem = scene.client.with_name(f"{scene.client.name}.{scene.backend.port}.machine")
    chain = scene.client.read_text()
    leaf, *rest = [f"{part}-----END CERTIFICATE-----\n"
                   for part in chain.split("-----END CERTIFICATE-----\n") if part.strip()]
    pem.write_text(leaf + scene.client_key.read_text())
    lines = [f"SSLProxyMachineCertificateFile {pem}"]
    if rest:
        more = pem.with_suffix(".chain")
        # mod_ssl looks for a path to a root among these; it sends no root.
        more.write_text("".join(rest) + lab.pki["root"].pem.decode())
        lines.append(f"SSLProxyMachineCertificateChainFile {more}")
    return pem, lines


def stock_lines(trust):
    """Verification as a careful admin sets it up today."""
    return (f"SSLProxyVerify require\nSSLProxyVerifyDepth 9\nSSLProxyCACertificateFile {trust}\n"
            "SSLProxyCheckPeerName on\nSSLProxyCheckPeerExpire on\n")


def vhost(port, body, *, protocols="TLSv1.2 TLSv1.3", extra=""):
    protocols = " ".join(f"+{word}" for word in protocols.split())
    return (f"Listen {net.HOST}:{port}\n<VirtualHost {net.HOST}:{port}>\n"
            f"ServerName front.lab.test\nSSLProxyEngine on\nSSLProxyProtocol -all {protocols}\n"
            f"{extra}\n{''.join(body)}</VirtualHost>\n")


def scenario_front(lab, folder, *, strict, versions=("TLSv1.2 TLSv1.3",), policy=None,
                   module=MODULE, **options):
    """(httpd, ports) with a location /ID for every scenario, a port per TLS version."""
    hosts = {scenario.name for scenario in lab.scenarios if not scenario.name[0].isdigit()}
    front = Httpd(folder, "strict-httpd" if strict else "stock-httpd", hosts=hosts,
                  module=module if strict else None, **options)
    ports, text = [], STRICT_HEADERS if strict else ""
    for protocols in versions:
        port = net.free_port()
        ports.append(port)
        body = []
        for scenario in lab.scenarios:
            scene = lab.scenes[scenario.id]
            lines = []
            if scene.client:
                lines += client_certificate(lab, scene, scenario.name)[1]
            if not strict:
                lines.append(stock_lines(scene.trust))
            if lines:
                body.append(f'<Proxy "{url_of(scene, scenario.name)}/">\n' + "\n".join(lines)
                            + "\n</Proxy>\n")
            body.append(location(
                f"/{scenario.id}", scene, strict=strict, name=scenario.name,
                policy={**(policy or {}), **scenario.policy},
                responder_url=f"http://{net.HOST}:{lab.responder.port}"))
        # The longer path last: /good must not swallow /good_short.
        text += vhost(port, body, protocols=protocols)
    front.configure(text)
    front.start(ports)
    return front, ports
