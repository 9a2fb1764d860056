"""Which module a request goes through decides what its peer is judged by.

Each of nginx's modules that speak TLS to upstreams trusts a CA of its own here, and a strict
location must accept whom nginx's own verification, set up for the same module, accepts.
"""
import contextlib
import re
import socket
import threading
from dataclasses import dataclass

import pytest

from tests.lab import fronts, net
from tests.lab.fronts import LAB_POLICY, directives
from tests.lab.scenarios import NAME

SCHEMES = {"proxy": ("http://", "https://"), "grpc": ("grpc://", "grpcs://"),
           "uwsgi": ("uwsgi://", "suwsgi://")}

# The CA that each module trusts.
TRUST = {"proxy": "root", "grpc": "stranger", "uwsgi": "young"}
ISSUERS = {"root": ("issuing", "leaf issuing intermediate"),
           "stranger": ("stranger_issuing", "leaf stranger_issuing"),
           "young": ("young_issuing", "leaf young_issuing")}

LEVELS = ("http", "server", "location")


@dataclass(frozen=True)
class Row:
    """A request that goes through a module, beside another one."""

    id: str
    module: str
    peer: str  # under this CA; "plain": not TLS
    text: str  # the locations
    query: str = ""
    method: str = "GET"


class Peers:
    def __init__(self, stage):
        self.tls = {ca: stage.peer(ca, issuer, serve).backend.address
                    for ca, (issuer, serve) in ISSUERS.items()}
        self.trust = {ca: stage.lab.pki[ca].cert_path for ca in ISSUERS}
        self.plain = f"{net.HOST}:{net.free_port()}"

    def passing(self, module, peer):
        plain, tls = SCHEMES[module]
        return f"{module}_pass {plain + self.plain if peer == 'plain' else tls + self.tls[peer]};"

    def settings(self, modules=SCHEMES):
        """Of nginx's own verification, which strict locations take their anchors from."""
        return "".join(
            f"{module}_ssl_trusted_certificate {self.trust[TRUST[module]]};\n"
            f"{module}_ssl_verify on;\n{module}_ssl_verify_depth 9;\n"
            f"{module}_ssl_name {NAME};\n{module}_ssl_server_name on;\n"
            f"{module}_ssl_session_reuse off;\n" for module in modules)


def table(peers, settings):
    """Rows; `settings` stand in each outermost location."""
    rows = []

    def add(module, peer, text, **fields):
        id = f"r{len(rows)}"
        rows.append(Row(id, module, peer, text.replace("ID", id).replace("{{", "{")
                        .replace("}}", "}"), **fields))

    for module in SCHEMES:
        for peer in (*ISSUERS, "plain"):
            goes = peers.passing(module, peer)
            add(module, peer, f"location /ID {{{{ {settings} {goes} }}}}\n")
            for other in SCHEMES:
                for kind in ("plain", TRUST[other]):
                    beside = peers.passing(other, kind)
                    # another location, before and after
                    add(module, peer,
                        f"location /IDa {{{{ {settings} {beside} }}}}\n"
                        f"location /ID {{{{ {settings} {goes} }}}}\n"
                        f"location /IDb {{{{ {settings} {beside} }}}}\n")
                    # "if" is taken, or is not
                    if other != module:
                        add(module, peer,
                            f"location /ID {{{{ {settings} {beside} if ($arg_go) {{{{ {goes} }}}} }}}}\n",
                            query="?go=1")
                        add(module, peer,
                            f"location /ID {{{{ {settings} {goes} if ($arg_go) {{{{ {beside} }}}} }}}}\n")
                    add(module, peer,
                        f"location /ID {{{{ {settings} {beside}\n"
                        f"location /ID/in {{{{ {goes} }}}} }}}}\n", query="/in")
                    if module == "proxy":
                        add(module, peer,
                            f"location /ID {{{{ {settings} {beside} limit_except GET {{{{ {goes} }}}} }}}}\n",
                            method="POST")
                    if other == "proxy":
                        add(module, peer,
                            f"location /ID {{{{ {settings} {goes} limit_except GET {{{{ {beside} }}}} }}}}\n")
    return rows


def refused_by_stock(front):
    """The ids of those rows whose peer nginx's own verification refused."""
    found = re.findall(r'upstream SSL certificate .*request: "\w+ /(\w+)', front.new_errors())
    return set(found)


@pytest.mark.parametrize("level", LEVELS)
def test_each_module_is_judged_by_its_own(level, stage):
    peers = Peers(stage)
    stage.open()
    settings = {place: peers.settings() if level == place else "" for place in LEVELS}
    rows = table(peers, settings["location"])
    strict = "strict_tls on;\n" + directives({**LAB_POLICY, "revocation": "off"})
    # Whatever is connected to in the clear answers in HTTP.
    plain = f"server {{ listen {peers.plain}; return 200 plain; }}\n"
    ports = {}
    nginxes = {}
    for kind in ("stock", "strict"):
        nginxes[kind], ports[kind] = stage.front(
            [row.text for row in rows],
            http=settings["http"] + (strict if kind == "strict" else plain),
            server=settings["server"])
    told = {kind: {row: net.get(port, f"/{row.id}{row.query}", method=row.method)
                   for row in rows} for kind, port in ports.items()}
    refused = refused_by_stock(nginxes["stock"])
    wrong = []
    accepted = 0
    for row in rows:
        answers = {kind: told[kind][row] for kind in told}
        stock = row.id not in refused
        word = answers["strict"].headers.get("x-strict-tls-verdict")
        if row.peer == "plain":
            good = word is None and stock
        else:
            good = word == ("accept" if stock else "reject")
            # the control: nginx's own verification looks at the module's own anchors
            good = good and stock == (row.peer == TRUST[row.module])
            accepted += stock
        if not good or answers["strict"].status != answers["stock"].status:
            wrong.append((row, stock, word, {k: a.status for k, a in answers.items()}))
    assert not wrong, "\n".join(map(str, wrong[:10]))
    assert accepted > len(rows) / 8
    assert "cannot be judged" not in nginxes["strict"].new_errors()


def variables(text, **values):
    return "".join(f"set ${name} {value};\n" for name, value in values.items()) + text


@pytest.mark.parametrize("module", SCHEMES)
@pytest.mark.parametrize("mode", ["on", "report"])
def test_only_what_is_configured_as_tls_is_held_to_it(mode, module, stage):
    """A scheme that is written is taken as it is; one that a variable chooses must be TLS."""
    peers = Peers(stage)
    stage.open()
    plain, tls = SCHEMES[module]
    http = "".join(f"upstream {name} {{ server {address}; }}\n"
                   for name, address in (("plain", peers.plain), ("tls", peers.tls[TRUST[module]]),
                                         ("stranger", peers.tls["stranger"]),
                                         ("root", peers.tls["root"])))
    other = next(ca for ca in ("stranger", "root") if ca != TRUST[module])
    rows = {
        "written": (f"{plain}$to", "plain", None),
        "written-tls": (f"{tls}$to", "tls", "accept"),
        "written-tls-other": (f"{tls}$to", other, "reject"),
        "chosen-plain": ("$scheme_of$to", "plain", "refused"),
        "chosen-tls": ("$scheme_of$to", "tls", "accept"),
        "chosen-tls-other": ("$scheme_of$to", other, "reject"),
    }
    locations = [
        f"location = /{id} {{ " + variables(f"{module}_pass {target};", to=to, scheme_of=(
            plain if to == "plain" else tls)) + "}\n"
        for id, (target, to, _) in rows.items()]
    strict = f"strict_tls {mode};\n" + directives({**LAB_POLICY, "revocation": "off"})
    # the module's verification is what is asked for, not the stock one
    settings = "".join(line + "\n" for line in peers.settings([module]).splitlines()
                       if "_ssl_verify" not in line)
    front, port = stage.front(
        locations, http=http + settings + strict
        + f"server {{ listen {peers.plain}; return 200 plain; }}\n")
    for id, (_, _, wanted) in rows.items():
        front.mark()
        answer = net.get(port, f"/{id}")
        word = answer.headers.get("x-strict-tls-verdict")
        refused = "cannot be judged" in front.new_errors()
        if wanted == "reject" and mode == "report":
            wanted = "would_reject"
        assert (word, refused) == ((None, True) if wanted == "refused" else (wanted, False)), id
        if wanted == "refused" and mode == "on":
            assert answer.status == 500
        elif module == "proxy" and wanted != "reject":
            assert answer.status == 200, id


class Speaker:
    """A server that answers each connection with these bytes, whatever it is told."""

    def __init__(self, answer):
        self._answer = answer
        self._socket = socket.create_server((net.HOST, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(self._answer)

    def close(self):
        self._socket.close()


@pytest.mark.parametrize("mode", ["on", "report"])
def test_modules_without_tls(mode, stage):
    """They serve as without us beside a location that is strict, and nothing is said about them."""
    peer = stage.peer("good")
    stage.open()
    speakers = {
        # FCGI_STDOUT of 20 bytes and FCGI_END_REQUEST of request 1
        "fastcgi": Speaker(b"\x01\x06\x00\x01\x00\x14\x00\x00Status: 200 OK\r\n\r\nhi"
                           b"\x01\x03\x00\x01\x00\x08\x00\x00" + bytes(8)),
        "scgi": Speaker(b"Status: 200 OK\r\n\r\nhi"),
        "memcached": Speaker(b"VALUE key 0 2\r\nhi\r\nEND\r\n"),
    }
    locations = [fronts.location("= /tls", peer, strict=True)] + [
        f"location = /{kind} {{ {more} {kind}_pass {speaker.address}; }}\n"
        for (kind, speaker), more in zip(speakers.items(), ("", "", "set $memcached_key key;"))]
    front, port = stage.front(locations, server=f"strict_tls {mode};")
    try:
        assert net.get(port, "/tls").headers["x-strict-tls-verdict"] == "accept"
        front.mark()
        for kind in speakers:
            answer = net.get(port, f"/{kind}")
            assert (answer.status, answer.text) == (200, "hi"), kind
            assert "x-strict-tls-verdict" not in answer.headers
        assert "strict-tls" not in front.new_errors()
    finally:
        for speaker in speakers.values():
            speaker.close()
