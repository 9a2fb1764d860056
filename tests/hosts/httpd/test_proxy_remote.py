"""Behind a forward proxy (ProxyRemote): a rejected peer is refused at once, in one attempt.

mod_proxy takes 502 from a scheme handler as "try again without the forward proxy".  So the name
leads to two places here: directly to a backend that every policy accepts, and through the forward
proxy to another one.  A 200 from the first is a request that went round the forward proxy.
"""
import pytest

from tests.lab import httpd_fronts, net
from tests.lab.connect_proxy import ConnectProxy
from tests.lab.httpd import MPMS
from tests.lab.scenarios import NAME
from tests.lab.tls_server import TlsServer
from tests.lab.verdicts import ACCEPT, verdict

# How a request gets to its target: lines, modules.
WAYS = {
    "pooled": ("ProxyPass / {url}/\n", ()),
    "not pooled": ("ProxyPass / {url}/ disablereuse=on\n", ()),
    "match": ("ProxyPassMatch ^/(.*)$ {url}/$1\n", ()),
    "rewrite": ("RewriteEngine on\nRewriteRule ^/(.*)$ {url}/$1 [P]\n", ("rewrite",)),
    "rewrite to a worker": ("<Proxy {url}/ keepalive=on>\n</Proxy>\n"
                            "RewriteEngine on\nRewriteRule ^/(.*)$ {url}/$1 [P]\n", ("rewrite",)),
    "handler": ('<Location />\nSetHandler "proxy:{url}/"\n</Location>\n', ()),
    "balancer": ("<Proxy balancer://pool>\nBalancerMember {url}\n</Proxy>\n"
                 "ProxyPass / balancer://pool/\n", ("proxy_balancer", "lbmethod_byrequests")),
    "websocket": ("ProxyPass / {url}/ upgrade=websocket\n", ()),
}

# What the forward proxy leads to -> the reason.
IMPOSTORS = {
    "chain.incomplete": {"serve": "leaf"},
    "name.mismatch": {"sans": ("other.lab.test",)},
    "ocsp.revoked": {"ocsp": "revoked"},  # found behind the handshake
}


class Scene:
    """A backend that the name leads to, and what the forward proxies make of it."""

    def __init__(self, stage):
        self.stage = stage
        self.direct = stage.peer("direct")
        self.proxies = []

    def proxy(self, peer=None, fault=None):
        target = f"{net.HOST}:{(peer or self.direct).backend.port}"
        proxy = self.stage.stack.enter_context(ConnectProxy({NAME: target}, fault))
        self.proxies.append(proxy)
        return proxy

    def front(self, way, remotes, *, policy="on", extra="", **options):
        text, modules = WAYS[way]
        url = httpd_fronts.url_of(self.direct, NAME)
        strict = (f"StrictTLS {policy}\nStrictTLSTrustedCertificate {self.direct.trust}\n"
                  "StrictTLSFetchDeny none\nProxyTimeout 5\n")
        return self.stage.front([text.format(url=url)], modules=modules,
                                extra=f"{remotes}{strict}{extra}", **options)

    def asked(self):
        return [len(proxy.asked) for proxy in self.proxies]


def remote(proxy):
    return f"ProxyRemote * http://{net.HOST}:{proxy.port}\n"


@pytest.fixture
def scene(stage):
    return Scene(stage)


def assert_refused(answer, reason):
    assert (answer.status, *verdict(answer)) == (502, "reject", reason)


@pytest.mark.parametrize("way", WAYS)
def test_controls(way, scene, stage):
    """The forward proxy is used, and one that leads to an impostor would be believed."""
    impostor = stage.peer("impostor", serve="leaf")
    proxy = scene.proxy(impostor)
    stage.open()
    _, port = scene.front(way, remote(proxy), policy="off")
    answer = net.get(port)
    assert (answer.status, answer.text) == (200, "backend impostor\n")
    assert scene.asked() == [1]


@pytest.mark.parametrize("reason", IMPOSTORS)
@pytest.mark.parametrize("way", WAYS)
def test_one_attempt(way, reason, scene, stage):
    impostor = stage.peer("impostor", **IMPOSTORS[reason])
    proxy = scene.proxy(impostor)
    stage.open()
    _, port = scene.front(way, remote(proxy), threads=1)  # one worker: it must be free again
    for number in range(1, 4):
        answer = net.get(port)
        # A balancer's only member is in error by now and is not asked again.
        assert_refused(answer, reason) if way != "balancer" or number == 1 else None
        assert answer.status >= 500
        assert answer.text != "backend direct\n"
        assert scene.asked() == [number] or way == "balancer"


@pytest.mark.parametrize("mpm", MPMS)
def test_repaired(mpm, scene, stage):
    """Refused at once with the reason, served once what the forward proxy leads to is right."""
    impostor = stage.peer("impostor", serve="leaf")
    proxy = scene.proxy(impostor)
    stage.open()
    _, port = scene.front("pooled", remote(proxy), mpm=mpm, threads=1)
    assert_refused(net.get(port), "chain.incomplete")
    proxy.names[NAME] = f"{net.HOST}:{scene.direct.backend.port}"
    answers = [net.get(port) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert {verdict(answer) for answer in answers} == {ACCEPT}
    assert len({answer.headers["x-connection"] for answer in answers}) == 1
    assert scene.asked() == [2]


@pytest.mark.parametrize("fault", ["junk", "silent", "refuse", "junk behind", "silent behind"])
@pytest.mark.parametrize("way", ["pooled", "not pooled", "match", "rewrite"])
def test_broken_forward_proxy(fault, way, scene, stage):
    """There is no verdict, and no second way to the backend either."""
    proxy = scene.proxy(fault=fault)
    stage.open()
    _, port = scene.front(way, remote(proxy), extra="ProxyTimeout 2\n", threads=1)
    answer = net.get(port)
    assert answer.status >= 500
    assert verdict(answer)[0] in (None, "", "reject")
    assert answer.text != "backend direct\n"
    assert scene.asked() == [1]


def hear_and_hang_up(stream, context):
    del context
    stream.read()
    raise ConnectionAbortedError


@pytest.mark.parametrize("way", ["pooled", "not pooled", "match", "rewrite"])
def test_broken_backend(way, scene, stage):
    """Accepted, but it does not answer: the request is not sent again past the forward proxy."""
    peer = stage.peer("broken")
    stage.open()
    with TlsServer(peer.backend.chain, peer.backend.key, service=hear_and_hang_up) as server:
        proxy = stage.stack.enter_context(ConnectProxy({NAME: server.address}))
        _, port = scene.front(way, remote(proxy), threads=1)
        answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (502, *ACCEPT)
    assert len(proxy.asked) == 1


REMOTES = {
    "two that fit": ("ProxyRemote * http://{first}\nProxyRemote https http://{second}\n"),
    "by match": ("ProxyRemoteMatch ^https:// http://{first}\n"
                 "ProxyRemoteMatch lab\\.test http://{second}\n"),
    "by url": ("ProxyRemote https://{name} http://{first}\nProxyRemote * http://{second}\n"),
}


@pytest.mark.parametrize("remotes", REMOTES)
@pytest.mark.parametrize("way", ["pooled", "not pooled", "match", "rewrite"])
def test_several_forward_proxies(way, remotes, scene, stage):
    """The second one is no second way for a peer that was rejected behind the first."""
    impostor = stage.peer("impostor", serve="leaf")
    first, second = scene.proxy(impostor), scene.proxy()
    stage.open()
    lines = REMOTES[remotes].format(name=NAME, first=f"{net.HOST}:{first.port}",
                                    second=f"{net.HOST}:{second.port}")
    _, port = scene.front(way, lines, threads=1)
    for number in (1, 2):
        assert_refused(net.get(port), "chain.incomplete")
        assert scene.asked() == [number, 0]


def test_another_target_needs_no_forward_proxy(scene, stage):
    """A ProxyRemote for other URLs leaves the direct way as it is."""
    proxy = scene.proxy(stage.peer("impostor", serve="leaf"))
    stage.open()
    _, port = scene.front(
        "pooled", f"ProxyRemote https://elsewhere.lab.test http://{net.HOST}:{proxy.port}\n")
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert scene.asked() == [0]


@pytest.mark.parametrize("body", [None, b"some body"], ids=["get", "post"])
def test_balancer_fails_over(body, scene, stage):
    """Members behind a forward proxy: the next one is tried, through the forward proxy too."""
    impostor = stage.peer("impostor", serve="leaf")
    good = stage.peer("good", sans=("good.lab.test",))
    names = {NAME: f"{net.HOST}:{impostor.backend.port}",
             "good.lab.test": f"{net.HOST}:{good.backend.port}"}
    stage.open()
    proxy = stage.stack.enter_context(ConnectProxy(names))
    members = "".join(f"BalancerMember https://{name}:{scene.direct.backend.port} retry=0\n"
                      for name in names)
    _, port = stage.front([
        f"<Proxy balancer://pool>\n{members}</Proxy>\nProxyPass / balancer://pool/\n"],
        extra=remote(proxy) + f"StrictTLS on\nStrictTLSTrustedCertificate {scene.direct.trust}\n"
        "StrictTLSFetchDeny none\n", hosts=(NAME, "good.lab.test"),
        modules=("proxy_balancer", "lbmethod_byrequests"), threads=2)
    answers = [net.get(port, method="POST" if body else "GET", body=body) for _ in range(4)]
    # A body that was read cannot be sent again; mod_proxy answers 502 instead.
    wanted = {(200, "backend good\n")} if body is None else \
        {(200, "backend good\n"), (502, answers[0].text)}
    assert {(answer.status, answer.text) for answer in answers} <= wanted
    assert all(target.rpartition(":")[0] in names for target in proxy.asked)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_not_sent_again(method, scene, stage):
    impostor = stage.peer("impostor", serve="leaf")
    proxy = scene.proxy(impostor)
    stage.open()
    _, port = scene.front("pooled", remote(proxy), threads=1)
    assert_refused(net.get(port, method=method, body=b"some body"), "chain.incomplete")
    assert scene.asked() == [1]


def test_report_goes_on(scene, stage):
    """Nothing is rejected there, so that nothing is in the way of what mod_proxy does."""
    impostor = stage.peer("impostor", serve="leaf")
    proxy = scene.proxy(impostor)
    stage.open()
    _, port = scene.front("pooled", remote(proxy), policy="report")
    answer = net.get(port)
    assert (answer.status, answer.text) == (200, "backend impostor\n")
    assert verdict(answer) == ("would_reject", "chain.incomplete")
