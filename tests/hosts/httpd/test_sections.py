"""A section that is about a backend reaches every connection to it, however the request gets there.

Each row says where StrictTLS stands and how the request is passed on.  Its controls: the same
lines with StrictTLS off let the bad backend through, and a good one is accepted.
"""
import tempfile
from pathlib import Path

import pytest

from tests.hosts.httpd.conftest import where
from tests.lab import httpd_fronts, net
from tests.lab.scenarios import NAME
from tests.lab.verdicts import ACCEPT, verdict

BALANCER = ("proxy_balancer", "lbmethod_byrequests")
POOL = "<Proxy balancer://pool>\n{pool}BalancerMember {url}\n</Proxy>\n"

# How requests are passed on: lines, modules, .htaccess.
BY_PASS = ("ProxyPass / {url}/\n", (), "")
BY_MATCH = ("ProxyPassMatch ^/(.*)$ {url}/$1\n", (), "")
IN_LOCATION = ("<Location />\nProxyPass {url}/\n</Location>\n", (), "")
BY_BALANCER = (POOL + "ProxyPass / balancer://pool/\n", BALANCER, "")
BY_REWRITE = ("RewriteEngine on\nRewriteRule ^/(.*)$ {url}/$1 [P]\n", ("rewrite",), "")
BY_HANDLER = ('<Location />\nSetHandler "proxy:{url}/"\n</Location>\n', (), "")
TO_BALANCER = (POOL + '<Location />\nSetHandler "proxy:balancer://pool"\n</Location>\n', BALANCER,
               "")
IN_HTACCESS = ("", ("rewrite",), "RewriteEngine on\nRewriteRule ^(.*)$ {url}/$1 [P]\n")
HTACCESS_BALANCER = (POOL, ("rewrite", *BALANCER),
                     "RewriteEngine on\nRewriteRule ^(.*)$ balancer://pool/$1 [P]\n")
HANDLER_HTACCESS = ("", (), 'SetHandler "proxy:{url}/"\n')
IN_DIRECTORY = ("<Directory {root}>\nRewriteEngine on\nRewriteRule ^(.*)$ {url}/$1 [P]\n"
                "</Directory>\n", ("rewrite",), "")
REWRITE_LOCATION = ("<Location />\nRewriteEngine on\nRewriteRule ^(.*)$ {url}/ [P]\n</Location>\n",
                    ("rewrite",), "")
WEBSOCKET = ("ProxyPass / wss://{host}/\n", ("proxy_wstunnel",), "")
HTTP2 = ("ProxyPass / h2://{host}/\n", ("http2", "proxy_http2"), "")
HTTP2_BALANCER = ("<Proxy balancer://pool>\nBalancerMember h2://{host}\n</Proxy>\n"
                  "ProxyPass / balancer://pool/\n", ("http2", "proxy_http2", *BALANCER), "")
WSS_BALANCER = ("<Proxy balancer://pool>\nBalancerMember wss://{host}\n</Proxy>\n"
                "ProxyPass / balancer://pool/\n", ("proxy_wstunnel", *BALANCER), "")

# Where the section stands.
URL = '<Proxy "{url}">\n{strict}</Proxy>\n'
SLASH = '<Proxy "{url}/">\n{strict}</Proxy>\n'
ANY = '<Proxy "*">\n{strict}</Proxy>\n'
GLOB = '<Proxy "https://*.lab.test:{port}/*">\n{strict}</Proxy>\n'
MATCH = '<ProxyMatch "^(https|wss|h2)://.*:{port}">\n{strict}</ProxyMatch>\n'
WORKER = '<Proxy "{url}" keepalive=on>\n{strict}</Proxy>\n'
UPPER = '<Proxy "https://BACKEND.lab.test:{port}/">\n{strict}</Proxy>\n'
SCHEME = '<Proxy "{scheme}://{host}">\n{strict}</Proxy>\n'

WAYS = {
    "ProxyPass": BY_PASS, "ProxyPassMatch": BY_MATCH, "ProxyPass in Location": IN_LOCATION,
    "balancer": BY_BALANCER, "RewriteRule": BY_REWRITE, "SetHandler": BY_HANDLER,
    "SetHandler to a balancer": TO_BALANCER, "RewriteRule in .htaccess": IN_HTACCESS,
    "RewriteRule in .htaccess to a balancer": HTACCESS_BALANCER,
    "SetHandler in .htaccess": HANDLER_HTACCESS, "RewriteRule in Directory": IN_DIRECTORY,
    "RewriteRule in Location": REWRITE_LOCATION,
}
SECTIONS = {"url": URL, "url with slash": SLASH, "any": ANY, "glob": GLOB, "match": MATCH,
            "worker": WORKER, "upper case": UPPER}

# Every way with one of them, every one of them with the ways that httpd's own merging leaves out.
ROWS = [pytest.param(way, section, id=f"{way}-{name}")
        for way in WAYS for name, section in SECTIONS.items()
        if name == "url" or way in ("balancer", "SetHandler", "RewriteRule in .htaccess")]
OTHER_SCHEMES = {
    "websocket": (WEBSOCKET, "wss"), "http2": (HTTP2, "h2"),
    "http2 balancer": (HTTP2_BALANCER, "h2"), "websocket balancer": (WSS_BALANCER, "wss"),
}


class Desk:
    def __init__(self, stage):
        self.stage = stage
        # httpd's children, which are not root, look for .htaccess in every folder above.
        self.root = Path(stage.stack.enter_context(
            tempfile.TemporaryDirectory(prefix="strict-tls-root-")))
        self.root.chmod(0o755)
        (self.root / "index.html").write_text("a file\n")
        self.bad = stage.peer("bad", serve="leaf")
        self.good = stage.peer("good")
        stage.open()

    def strict(self, policy="on"):
        return (f"StrictTLS {policy}\nStrictTLSTrustedCertificate {self.bad.trust}\n"
                "StrictTLSFetchDeny none\n")

    def front(self, way, section, peer, policy="on", *, extra="", pool=False, **fields):
        text, modules, htaccess = way
        values = {"url": httpd_fronts.url_of(peer, NAME), "root": self.root,
                  "host": f"{NAME}:{peer.backend.port}", "port": peer.backend.port,
                  "strict": self.strict(policy), "pool": "", **fields}
        if pool:
            values["pool"] = values["strict"]
        (self.root / ".htaccess").write_text(htaccess.format(**values))
        body = (f"DocumentRoot {self.root}\n<Directory {self.root}>\nAllowOverride all\n"
                f"Require all granted\n</Directory>\nProxyTimeout 10\n"
                f"{section.format(**values)}{text.format(**values)}")
        return self.stage.front([body], modules=("dir", *modules), extra=extra)[1]

    def get(self, *args, headers=None, **fields):
        return net.get(self.front(*args, **fields), "/index.html", headers=headers)


@pytest.fixture
def desk(stage):
    return Desk(stage)


def assert_not_judged(answer):
    assert answer.status == 200
    assert not any(verdict(answer))


def assert_judged(desk, way, section, **fields):
    answer = desk.get(way, section, desk.bad, "off", **fields)
    assert answer.status == 200, "the control"
    answer = desk.get(way, section, desk.bad, **fields)
    assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")
    answer = desk.get(way, section, desk.good, **fields)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


@pytest.mark.parametrize("way, section", ROWS)
def test_section_reaches(way, section, desk):
    assert_judged(desk, WAYS[way], section)


@pytest.mark.parametrize("name", OTHER_SCHEMES)
def test_other_schemes(name, desk):
    way, scheme = OTHER_SCHEMES[name]
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"} if scheme == "wss" else {}
    assert_judged(desk, way, SCHEME, scheme=scheme, headers=headers)
    assert_judged(desk, way, MATCH, headers=headers)


@pytest.mark.parametrize("way", ["balancer", "SetHandler to a balancer",
                                 "RewriteRule in .htaccess to a balancer"])
def test_the_balancers_section(way, desk):
    assert_judged(desk, WAYS[way], "", pool=True)


@pytest.mark.parametrize("way", WAYS)
def test_order_of_sections(way, desk):
    """httpd merges <Proxy> in front of <Location>, and so it is where httpd itself does not look."""
    lax = "<Location />\nStrictTLS off\n</Location>\n"
    answer = desk.get(WAYS[way], URL + lax, desk.bad)
    assert_not_judged(answer)
    location = "<Location />\n{strict}</Location>\n"
    answer = desk.get(WAYS[way], '<Proxy "{url}">\nStrictTLS off\n</Proxy>\n' + location, desk.bad)
    assert verdict(answer) == ("reject", "chain.incomplete")


@pytest.mark.parametrize("way", WAYS)
def test_the_last_section_about_a_backend_counts(way, desk):
    lines = '<Proxy "*">\n{strict}</Proxy>\n<Proxy "{url}">\nStrictTLS %s\n</Proxy>\n'
    assert desk.get(WAYS[way], lines % "off", desk.bad).status == 200
    answer = desk.get(WAYS[way], lines % "report", desk.bad)
    assert (answer.status, *verdict(answer)) == (200, "would_reject", "chain.incomplete")


@pytest.mark.parametrize("way", ["balancer", "SetHandler"])
@pytest.mark.parametrize("other", [
    '<Proxy "https://backend.lab.tes:{port}">', '<Proxy "https://backend.lab.test:1{port}">',
    '<Proxy "http://backend.lab.test:{port}">', '<Proxy "https://backend.lab.test:{port}0">',
    '<ProxyMatch "^https://other">', '<Proxy "https://*.other.test/*">'])
def test_sections_about_others_do_not(other, way, desk):
    end = "</ProxyMatch>\n" if "Match" in other else "</Proxy>\n"
    answer = desk.get(WAYS[way], other + "\n{strict}" + end, desk.bad)
    assert_not_judged(answer)


def test_a_port_of_its_own_ends_the_host(desk):
    """https://backend.lab.test:443 is no prefix of another host, nor of another port."""
    for name in ("https://backend.lab.test:443", "https://backend.lab.tes:443"):
        answer = desk.get(WAYS["balancer"], f'<Proxy "{name}">\nStrictTLS off\n</Proxy>\n',
                          desk.bad, pool=True)
        assert verdict(answer) == ("reject", "chain.incomplete")


@pytest.mark.parametrize("policy, status", [("on", 502), ("off", 200)])
def test_members_of_one_balancer(policy, status, desk):
    """Each by its own section: the lax one serves where the strict one is refused."""
    url = httpd_fronts.url_of(desk.good, NAME)
    lines = ("<Proxy balancer://pool>\nBalancerMember {url}\nBalancerMember " + url +
             " status=+H\n</Proxy>\n"
             '<Proxy "{url}">\nStrictTLS ' + policy + '\n</Proxy>\n'
             "ProxyPass / balancer://pool/\n")
    answer = desk.get((lines, BALANCER, ""), "{strict}", desk.bad)
    assert answer.status == 200
    assert answer.text == ("backend good\n" if status == 502 else "backend bad\n")


@pytest.mark.parametrize("inherit", [True, False])
def test_virtual_hosts_inherit(inherit, desk):
    """<Proxy> sections of the main server count in its virtual hosts."""
    url = httpd_fronts.url_of(desk.bad, NAME)
    main = f'<Proxy "{url}">\n{desk.strict()}</Proxy>\n'
    if inherit:
        main += f"<Proxy balancer://pool>\nBalancerMember {url}\n</Proxy>\n"
        body = "ProxyPassInherit on\nProxyPass / balancer://pool/\n"
    else:
        body = ("ProxyPassInherit off\n"
                f"<Proxy balancer://pool>\nBalancerMember {url}\n</Proxy>\n"
                "ProxyPass / balancer://pool/\n")
    _, port = desk.stage.front([body], main=main, modules=BALANCER)
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")


def test_pooled_connections_of_members(desk):
    """One pool, two balancers that lead to it under different sections."""
    url = httpd_fronts.url_of(desk.bad, NAME)
    body = (f"<Proxy balancer://lax>\nBalancerMember {url}\n</Proxy>\n"
            f"<Proxy balancer://strict>\n{desk.strict()}BalancerMember {url}\n</Proxy>\n"
            f"ProxyPass /lax balancer://lax\nProxyPass /strict balancer://strict\n")
    _, port = desk.stage.front([body], modules=BALANCER, threads=1)
    assert net.get(port, "/lax/").status == 200
    assert verdict(net.get(port, "/strict/")) == ("reject", "chain.incomplete")
    assert net.get(port, "/lax/").status == 200


# ---- where StrictTLS may not stand -----------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_limit_would_not_limit_it(method, desk):
    front, _ = desk.stage.front([where(desk.bad, extra=f"<Limit {method}>\nStrictTLS off\n"
                                       "</Limit>\n")], start=False)
    status, output = front.test()
    assert status != 0 and "Limit" in output


@pytest.mark.parametrize("line", ["StrictTLS off", "StrictTLSRevocation off",
                                  "StrictTLSStatus public", "StrictTLSHTTPProxy off"])
@pytest.mark.parametrize("override", ["all", "NonFatal=All", "NonFatal=Override"])
def test_htaccess_has_no_say(override, line, desk):
    """Not even where AllowOverrideList names the directive."""
    word = "all " + override if override != "all" else "all"
    (desk.root / ".htaccess").write_text(f"{line}\n")
    url = httpd_fronts.url_of(desk.bad, NAME)
    body = (f"DocumentRoot {desk.root}\n{desk.strict()}<Directory {desk.root}>\n"
            f"AllowOverride {word}\nAllowOverrideList {line.split()[0]}\n"
            "Require all granted\nRewriteEngine on\n"
            f"RewriteRule ^(.*)$ {url}/$1 [P]\n</Directory>\n")
    _, port = desk.stage.front([body], modules=("rewrite",))
    for _ in range(3):
        answer = net.get(port, "/index.html")
        assert answer.status >= 500
        assert not any(verdict(answer)) or verdict(answer) == ("reject", "chain.incomplete")


def test_mod_ssls_lines_in_htaccess(desk):
    """The module looks at SSLVerifyClient, too; what it makes of it passes with the request."""
    way = ("", ("rewrite",), "<IfModule ssl_module>\nSSLVerifyClient none\n</IfModule>\n"
           + IN_HTACCESS[2])
    assert_judged(desk, way, URL)
    port = desk.front(way, URL, desk.bad)
    for _ in range(20):
        assert verdict(net.get(port, "/index.html")) == ("reject", "chain.incomplete")


def test_contradiction_in_a_proxy_section(desk):
    """Told when the configuration is tested, as in other sections."""
    front, _ = desk.stage.front(
        [f'<Proxy "*">\n{desk.strict()}StrictTLSRevocation hard\nStrictTLSPurpose client\n'
         "StrictTLSFetchTimeoutMs 5000\nStrictTLSFetchTotalMs 100\n</Proxy>\n"], start=False)
    assert front.test()[0] != 0
