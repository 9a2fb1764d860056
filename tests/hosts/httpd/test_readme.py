"""The README's httpd example, run: only names, ports and paths are this lab's."""
import re

from tests.lab import httpd_inbound, net
from tests.lab.httpd import MODULE, Httpd
from tests.lab.nginx import ROOT
from tests.lab.tls_client import Client
from tests.lab.verdicts import ACCEPT, verdict

NAMES = ("api.example.com", "partner.example.net", "app.internal.example")


def test_example(stage, tmp_path):
    api, partner, internal = NAMES
    peers = {
        api: stage.peer("api", sans=(api,)),
        partner: stage.peer("partner", sans=(partner,), serve="leaf"),
        internal: stage.peer("internal", sans=(internal,), ocsp="none", drop=("aki",)),
    }
    stage.open()
    text = re.search(r"^```apache\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    assert "LoadModule strict_tls_module" in text
    text = re.sub(r"^LoadModule .*\n", "", text, flags=re.M)
    port = net.free_port()
    text = text.replace("Listen 8081", f"Listen {net.HOST}:{port}").replace("*:8081",
                                                                           f"{net.HOST}:{port}")
    text = text.replace("/var/log/apache2/", f"{tmp_path}/")
    root = str(peers[api].trust)
    text = text.replace("/etc/ssl/certs/ca-certificates.crt", root)
    for name, peer in peers.items():
        text = text.replace(f"https://{name}/", f"https://{name}:{peer.backend.port}/")
    # Responders are on loopback here, and the system does not trust the lab.
    lab = f"StrictTLSFetchDeny none\nStrictTLSTrustedCertificate {root}\n"
    text = text.replace("    StrictTLSPreset private\n",
                        "    StrictTLSPreset private\n    StrictTLSFetchDeny none\n")
    headers = ('Header always set X-Strict-TLS-Verdict "expr=%{reqenv:STRICT_TLS_VERDICT}"\n'
               'Header always set X-Strict-TLS-Reason "expr=%{reqenv:STRICT_TLS_REASON}"\n')
    with Httpd(tmp_path / "readme", module=MODULE, hosts=NAMES) as httpd:
        httpd.configure(text, main=lab + headers)
        httpd.start([port])
        answers = {path: net.get(port, path) for path in ("/", "/partner/", "/internal/")}
        assert [answer.status for answer in answers.values()] == [200] * 3, httpd.errors()
        assert verdict(answers["/"]) == ACCEPT
        assert verdict(answers["/partner/"]) == ("would_reject", "chain.incomplete")
        assert verdict(answers["/internal/"]) == ACCEPT
        log = tmp_path / "upstream.log"
        net.wait_until(lambda: log.read_text().count("\n") == 3, "the log")
        assert "verdict=would_reject reason=chain.incomplete" in log.read_text()


def test_client_example(stage, tmp_path):
    """docs/directives.md's, with clients that come to it."""
    lab = stage.lab
    good, gap = lab.visitor("good"), lab.visitor("gap", serve="leaf")
    stage.open()
    text = re.search(r"^### Clients' certificates\n.*?^```apache\n(.*?)^```$",
                     (ROOT / "docs/directives.md").read_text().partition("## httpd")[2],
                     re.M | re.S)[1]
    port = net.free_port()
    for old, new in (("Listen 8443", f"Listen {net.HOST}:{port}"), ("*:8443", f"{net.HOST}:{port}"),
                     ("/var/log/apache2/", f"{tmp_path}/"),
                     ("/etc/ssl/api.example.com.pem", lab.front_chain),
                     ("/etc/ssl/private/api.example.com.key", lab.front.key_path),
                     ("/etc/ssl/clients-root.pem", lab.pki["root"].cert_path)):
        assert old in text
        text = text.replace(old, str(new))
    # Responders are on loopback here.
    main = ("StrictTLSClientFetchDeny none\n<Location />\nSetHandler server-status\n</Location>\n"
            + httpd_inbound.CLIENT_HEADERS)
    with Httpd(tmp_path / "clients", module=MODULE) as httpd:
        httpd.configure(text, main=main)
        httpd.start([port])
        httpd.mark()
        answer = Client(good.chain, good.key).get(port, "api.example.com")
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
        assert Client(gap.chain, gap.key).get(port, "api.example.com").status is None
        assert [line.reason for line in httpd.verdicts()] == ["chain.incomplete"]
        log = tmp_path / "clients.log"
        net.wait_until(lambda: net.whole_lines(log), "the log")
        assert "client=accept reason=none" in log.read_text()
