"""No way round a verdict: resumed sessions, kept-alive connections, retries, reloads, aborts.

Every test has its control: the lax location shows that the way exists.
"""
import json
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import fronts, net
from tests.lab.fronts import ALIVE, OTHER_POLICIES, keepalive_pool, pool_of
from tests.lab.nginx import VERSION
from tests.lab.renegotiation import RenegotiatingServer
from tests.lab.responder import BEHAVIOURS
from tests.lab.scenarios import NAME
from tests.lab.verdicts import (ACCEPT, BRIEF, MARGIN_S, assert_last_second_is_in, resumed,
                                verdict)

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}

# Explicit upstreams keep connections alive from 1.29.7 on, where here sessions are to be resumed.
NOT_KEPT = " keepalive 0;" if VERSION >= (1, 29, 7) else ""
POOLS = {kind: text and text.replace(" }}", NOT_KEPT + " }}") for kind, text in {
    **fronts.POOLS, "hash": "upstream pool {{ hash $uri; server {address}; }}\n"}.items()}


# ---- resumed sessions -------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", POOLS)
def test_resumption_within_a_policy(kind, version, stage):
    """Resumption keeps working where nothing speaks against it."""
    peer = stage.peer("good")
    stage.open()
    http, target = pool_of(kind, peer, POOLS)
    _, port = stage.front([fronts.location("/", peer, strict=True, target=target,
                                           protocols=VERSIONS[version])], http=http)
    answers = [net.get(port) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert [verdict(answer) for answer in answers] == [ACCEPT] * 4
    assert [resumed(answer) for answer in answers] == [False, True, True, True]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", POOLS)
def test_no_resumption_from_lax_to_strict(kind, version, stage):
    """A session that an unchecked connection left gives a strict location nothing."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    http, target = pool_of(kind, peer, POOLS)
    _, port = stage.front([
        fronts.location(f"/{word}", peer, strict=strict, target=target,
                        protocols=VERSIONS[version])
        for word, strict in (("lax", "off"), ("strict", True))], http=http)
    assert not resumed(net.get(port, "/lax"))
    assert resumed(net.get(port, "/lax"))  # the control
    for _ in range(2):
        answer = net.get(port, "/strict")
        assert answer.status == 502
        assert verdict(answer) == ("reject", "chain.incomplete")
    assert net.get(port, "/lax").status == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("other, reason", OTHER_POLICIES.values(), ids=OTHER_POLICIES)
def test_no_resumption_across_policies(other, reason, version, stage):
    peer = stage.peer("silent", ocsp="silent")
    stage.open()
    _, port = stage.front([
        fronts.location("/soft", peer, strict=True, protocols=VERSIONS[version],
                        policy={"revocation": "soft", "fetch_timeout_ms": "300"}),
        fronts.location("/other", peer, strict=True, protocols=VERSIONS[version],
                        **{**other, "policy": {**other["policy"], "fetch_timeout_ms": "300"}}),
    ])
    assert net.get(port, "/soft").status == 200
    assert net.get(port, "/soft").status == 200
    answer = net.get(port, "/other")
    assert (answer.status, *verdict(answer)) == (502, "reject", reason)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_resumption_across_trust(version, stage):
    """The same policy words with other anchors are another policy."""
    peer = stage.peer("good")
    stage.open()
    stranger = fronts.location("/stranger", peer, strict=True, protocols=VERSIONS[version])
    stranger = stranger.replace(str(peer.trust), str(stage.lab.pki["stranger"].cert_path))
    _, port = stage.front([
        fronts.location("/good", peer, strict=True, protocols=VERSIONS[version]), stranger])
    assert net.get(port, "/good").status == 200
    assert resumed(net.get(port, "/good"))
    assert verdict(net.get(port, "/stranger")) == ("reject", "chain.untrusted")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rejected_handshake_leaves_no_session(version, stage):
    """TLS 1.3 tickets arrive with or after the verdict; none of them may be kept."""
    peer = stage.peer("revoked", ocsp="revoked")
    stage.open()
    _, port = stage.front([
        fronts.location(f"/{word}", peer, strict=strict, protocols=VERSIONS[version])
        for word, strict in (("lax", "off"), ("strict", True))])
    for _ in range(3):
        assert verdict(net.get(port, "/strict")) == ("reject", "ocsp.revoked")
    assert not resumed(net.get(port, "/lax"))


@pytest.mark.parametrize("version", VERSIONS)
def test_report_mode_leaves_no_session_for_strict(version, stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    _, port = stage.front([
        fronts.location(f"/{word}", peer, strict=strict, protocols=VERSIONS[version])
        for word, strict in (("report", "report"), ("strict", True))])
    for _ in range(2):
        answer = net.get(port, "/report")
        assert (answer.status, *verdict(answer)) == (200, "would_reject", "chain.incomplete")
    assert verdict(net.get(port, "/strict")) == ("reject", "chain.incomplete")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_ends_with_its_verdict(version, stage):
    """Past verdict_max_age_s a full handshake is made, and the peer judged again."""
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, protocols=VERSIONS[version],
                                           policy={"verdict_max_age_s": "2"})])
    first = net.get(port)
    time.sleep(2.1)
    second = net.get(port)
    assert [answer.status for answer in (first, second)] == [200, 200]
    assert not resumed(second)


@pytest.mark.parametrize("version", VERSIONS)
def test_renewed_tickets_do_not_extend_a_verdict(version, stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, protocols=VERSIONS[version],
                                           policy={"verdict_max_age_s": "8"})])
    started = time.monotonic()
    fresh_at, num_resumed = [], 0
    while time.monotonic() - started < 9:
        answer = net.get(port)
        assert verdict(answer) == ACCEPT
        if resumed(answer):
            num_resumed += 1
        else:
            fresh_at.append(time.monotonic() - started)
        time.sleep(0.2)
    gaps = [later - earlier for earlier, later in zip(fresh_at, fresh_at[1:])]
    assert gaps and max(gaps) <= 4.5
    assert num_resumed > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_ends_with_its_certificate(version, stage):
    peer = stage.peer("dying", days=10 / 86400, starts=0.0, ocsp="good")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, protocols=VERSIONS[version])])
    dies_at = peer.leaf.expires_at.timestamp() - time.timezone
    assert net.get(port).status == 200
    assert resumed(net.get(port))
    time.sleep(max(0.0, dies_at - time.time()) + 1.1)
    assert verdict(net.get(port)) == ("reject", "chain.expired")


# ---- kept-alive connections ---------------------------------------------------


@pytest.fixture
def alive(stage):
    """front(peer, {path: location options}): locations that share one keepalive pool."""

    def front(peer, locations, more="", **options):
        return stage.front([
            fronts.location(path, peer, target="pool", extra=ALIVE, **fields)
            for path, fields in locations.items()],
            http=keepalive_pool(peer, more=more), **options)

    return front


@pytest.mark.parametrize("more", ["", "zone pool 64k;", "least_conn;"])
def test_keepalive_within_a_policy(more, stage, alive):
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True}}, more)
    answers = [net.get(port) for _ in range(3)]
    assert [verdict(answer) for answer in answers] == [ACCEPT] * 3
    assert len({answer.headers["x-connection"] for answer in answers}) == 1


@pytest.mark.parametrize("more", ["", "zone pool 64k;", "least_conn;"])
@pytest.mark.parametrize("lax", ["off", "report"])
def test_no_kept_alive_connection_from_lax_to_strict(lax, more, stage, alive):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    _, port = alive(peer, {"/lax": {"strict": lax}, "/strict": {"strict": True}}, more)
    first, second = net.get(port, "/lax"), net.get(port, "/lax")
    assert first.headers["x-connection"] == second.headers["x-connection"]  # the control
    for _ in range(2):
        assert verdict(net.get(port, "/strict")) == ("reject", "chain.incomplete")
    assert net.get(port, "/lax").status == 200


def test_lax_connection_is_not_strict_even_if_the_peer_is_good(stage, alive):
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/lax": {"strict": "off"}, "/strict": {"strict": True}})
    lax = net.get(port, "/lax")
    strict = net.get(port, "/strict")
    assert (strict.status, *verdict(strict)) == (200, *ACCEPT)
    assert strict.headers["x-connection"] != lax.headers["x-connection"]


@pytest.mark.parametrize("other, reason", OTHER_POLICIES.values(), ids=OTHER_POLICIES)
def test_no_kept_alive_connection_across_policies(other, reason, stage, alive):
    peer = stage.peer("silent", ocsp="silent")
    stage.open()
    other = {**other, "policy": {**other["policy"], "fetch_timeout_ms": "300"}}
    _, port = alive(peer, {
        "/soft": {"strict": True, "policy": {"revocation": "soft", "fetch_timeout_ms": "300"}},
        "/other": {"strict": True, **other}})
    assert net.get(port, "/soft").headers["x-connection"] \
        == net.get(port, "/soft").headers["x-connection"]
    assert verdict(net.get(port, "/other")) == ("reject", reason)
    assert net.get(port, "/soft").status == 200


def test_name_of_each_request_counts(stage, alive):
    """proxy_ssl_name with a variable: the connection was judged for another request's name."""
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True, "name": "$arg_name"}})
    assert net.get(port, f"/?name={NAME}").status == 200
    assert verdict(net.get(port, "/?name=other.lab.test")) == ("reject", "name.mismatch")
    assert net.get(port, f"/?name={NAME}").status == 200


def test_a_name_in_another_case_is_the_same(stage, alive):
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True, "name": "$arg_name"}})
    answers = [net.get(port, f"/?name={name}") for name in (NAME, NAME.upper(), f"{NAME}.")]
    assert [verdict(answer) for answer in answers] == [ACCEPT] * 3
    assert len({answer.headers["x-connection"] for answer in answers}) == 1


def test_a_verdict_stands_in_its_last_second(stage, alive):
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True, "policy": BRIEF}})
    assert_last_second_is_in(lambda: net.get(port))


def test_a_session_is_left_out_near_the_end_of_its_verdict(stage):
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([
        fronts.location(path, peer, strict=True, policy={"verdict_max_age_s": str(max_age_s)})
        for path, max_age_s in (("/brief", MARGIN_S - 1), ("/long", 60))])
    for path, reused in (("/brief", False), ("/long", True)):
        assert not resumed(net.get(port, path))
        assert resumed(net.get(port, path)) == reused


def test_a_kept_alive_connection_ends_with_its_verdict(stage, alive):
    peer = stage.peer("good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True, "policy": {"verdict_max_age_s": "2"}}})
    first, again = net.get(port), net.get(port)
    time.sleep(3.1)
    later = net.get(port)
    assert [answer.status for answer in (first, again, later)] == [200] * 3
    assert first.headers["x-connection"] == again.headers["x-connection"]
    assert later.headers["x-connection"] != first.headers["x-connection"]


def test_a_kept_alive_connection_ends_with_its_certificate(stage, alive):
    peer = stage.peer("dying", days=10 / 86400, starts=0.0, ocsp="good")
    stage.open()
    _, port = alive(peer, {"/": {"strict": True}})
    dies_at = peer.leaf.expires_at.timestamp() - time.timezone
    assert net.get(port).status == 200
    time.sleep(max(0.0, dies_at - time.time()) + 1.1)
    assert verdict(net.get(port)) == ("reject", "chain.expired")


# ---- configuration -----------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_locations_that_share_their_settings(version, stage):
    """TLS settings inherited from the server, strictness decided per location and by if."""
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    passing = f"proxy_pass https://{peer.backend.address};"
    _, port = stage.front([
        f"location /strict {{ {passing} }}\n",
        f"location /lax {{ {passing} strict_tls off; }}\n",
        f"location /report {{ {passing} strict_tls report; }}\n",
        f"location /if {{ {passing} if ($arg_lax) {{ {passing} strict_tls off; }} }}\n",
        f"location /outer {{ strict_tls off; location /outer/inner {{ {passing} strict_tls on; }} "
        f"{passing} }}\n",
    ], server=f"strict_tls on;\nstrict_tls_trusted_certificate {peer.trust};\n"
              f"proxy_ssl_name {NAME};\nproxy_ssl_protocols {VERSIONS[version]};\n"
              + fronts.directives(fronts.LAB_POLICY))
    expected = {"/lax": 200, "/strict": 502, "/report": 200, "/if?lax=1": 200, "/if": 502,
                "/outer": 200, "/outer/inner": 502}
    for _ in range(3):
        assert {path: net.get(port, path).status for path in expected} == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["address", "upstream"])
def test_proxy_pass_with_variables(target, version, stage):
    good, bad = stage.peer("good"), stage.peer("bad", serve="leaf")
    stage.open()
    http = "".join(f"upstream {name} {{ server {peer.backend.address}; }}\n"
                   for name, peer in (("good", good), ("bad", bad)))
    words = {"upstream": ("good", "bad"), "address": (good.backend.address, bad.backend.address)}
    _, port = stage.front([
        fronts.location(f"/{word}", good, strict=strict, target="$arg_to",
                        protocols=VERSIONS[version])
        for word, strict in (("lax", "off"), ("strict", True))], http=http)
    to_good, to_bad = words[target]
    assert [net.get(port, f"/lax?to={to_bad}").status for _ in range(3)] == [200] * 3
    for _ in range(2):
        assert verdict(net.get(port, f"/strict?to={to_bad}")) == ("reject", "chain.incomplete")
        answer = net.get(port, f"/strict?to={to_good}")
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


def test_next_upstream(stage):
    """A rejected peer is a failed one: the next is tried, and tells the verdict."""
    bad, good = stage.peer("bad", serve="leaf"), stage.peer("good")
    stage.open()
    pool = "upstream pool {{ {} }}\n".format("".join(
        f"server {peer.backend.address} max_fails=0;" for peer in (bad, good)))
    front, port = stage.front([fronts.location("/", good, strict=True, target="pool")], http=pool)
    for _ in range(4):
        answer = net.get(port)
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
        assert answer.text == "backend good\n"
    assert {line.reason for line in front.verdicts()} == {"chain.incomplete"}
    assert {line.fields["addr"] for line in front.verdicts()} == {bad.backend.address}


def test_next_upstream_without_a_good_one(stage):
    peers = [stage.peer(f"bad{number}", serve="leaf") for number in range(3)]
    stage.open()
    pool = "upstream pool {{ {} }}\n".format("".join(
        f"server {peer.backend.address};" for peer in peers))
    front, port = stage.front([fronts.location("/", peers[0], strict=True, target="pool")],
                              http=pool)
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (502, "reject", "chain.incomplete")
    assert len(front.verdicts()) == 3


# ---- what a rejection looks like -----------------------------------------------


def test_variables_after_error_page(stage):
    bad, good = stage.peer("bad", serve="leaf"), stage.peer("good")
    stage.open()
    log = stage.lab.folder / "access.log"
    _, port = stage.front([
        fronts.location("/named", bad, strict=True, extra="    error_page 502 = @fallback;\n"),
        fronts.location("/page", bad, strict=True, extra="    error_page 502 /sorry;\n"),
        fronts.location("/again", bad, strict=True, extra="    error_page 502 = @good;\n"),
        "location @fallback { return 503; }\n",
        "location = /sorry { internal; return 502 sorry; }\n",
        fronts.location("@good", good, strict=True).replace(
            good.backend.address + "/;", good.backend.address + ";"),
    ], http='log_format verdict escape=none "$uri $strict_tls_verdict $strict_tls_reason '
            '$strict_tls_report";\n', server=f"access_log {log} verdict;\n")
    for path, status, expected in (("/named", 503, ("reject", "chain.incomplete")),
                                   ("/page", 502, ("reject", "chain.incomplete")),
                                   ("/again", 200, ACCEPT)):
        answer = net.get(port, path)
        assert (answer.status, *verdict(answer)) == (status, *expected), path
        assert json.loads(answer.headers["x-strict-tls-report"])["reason"] == expected[1]
    # The log is written after the answer.
    lines = net.wait_until(lambda: (lines := net.whole_lines(log).splitlines())[2:] and lines, "the log")
    assert [line.split()[1] for line in lines] == ["reject", "reject", "accept"]
    assert all(json.loads(line.split(" ", 3)[3])["version"] == 1 for line in lines)


@pytest.mark.parametrize("fields, name", [({"serve": "leaf"}, NAME), ({"ocsp": "revoked"}, NAME),
                                          ({}, None)],
                         ids=["in_the_handshake", "after_it", "name_of_the_group"])
def test_a_rejection_is_one_line(fields, name, stage):
    """With what is to be done about it; nginx's own line about the same is none of an error."""
    peer = stage.peer("bad", **fields)
    stage.open()
    location = fronts.location("/", peer, strict=True, target="pool")
    if name is None:
        location = location.replace(f"proxy_ssl_name {NAME};", "")
    front, port = stage.front([location],
                              http=f"upstream pool {{ server {peer.backend.address}; }}\n")
    assert net.get(port).status == 502
    lines = [line for line in front.new_errors().splitlines()
             if re.search(r" \[(warn|error|crit|alert)\] ", line)]
    assert len(lines) == 1 and "strict-tls: reject " in lines[0], lines
    line, = front.verdicts()
    assert line.fields["remedy"]
    assert ("set proxy_ssl_name to the name of the host" in line.fields.get("hint", "")) == (
        name is None)


def test_report_mode(stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict="report")])
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (200, "would_reject", "chain.incomplete")
    assert [(line.word, line.level, line.reason) for line in front.verdicts()] == [
        ("would_reject", "warn", "chain.incomplete")]


def test_off_says_nothing(stage):
    peer = stage.peer("bad", serve="leaf")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict="off")])
    answer = net.get(port)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-strict-tls")]
    assert front.verdicts() == []


def test_sni_is_sent(stage):
    """Without proxy_ssl_server_name, which defaults to off."""
    peer = stage.peer("good")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True)])
    assert net.get(port).headers["x-sni"] == NAME


# ---- while a fetch is under way --------------------------------------------------


class Pending:
    """A request in the background whose handshake waits for a responder that holds back."""

    def __init__(self, stage, peer, port, path="/", number=1):
        self.peer = peer
        self._responder = stage.responder
        self._pool = ThreadPoolExecutor(number)
        self.answers = [self._pool.submit(net.get, port, path) for _ in range(number)]
        net.wait_until(lambda: self._responder.count(peer.place), "the responder to be asked")

    def finish(self):
        self._responder.release(self.peer.place)
        answers = [answer.result(net.PATIENCE_S) for answer in self.answers]
        self._pool.shutdown()
        return answers


def test_reload_during_a_fetch(stage):
    """The old workers finish what they began; the new ones ask for themselves."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    patient = {"fetch_timeout_ms": "15000", "fetch_total_ms": "15000"}
    front, port = stage.front([fronts.location("/", peer, strict=True, policy=patient)])
    pending = Pending(stage, peer, port)
    front.reload()
    (answer,) = pending.finish()
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


def test_reload_to_another_policy(stage):
    """Sessions, connections and verdicts of the old configuration count no more."""
    peer = stage.peer("good")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict=True)])
    assert net.get(port).status == 200
    front.rewrite([fronts.location("/", peer, strict=True, policy={"chain_root": "require"})])
    front.reload()
    net.wait_until(lambda: verdict(net.get(port)) == ("reject", "chain.root_missing"),
                   "the new policy")
    assert [net.get(port).status for _ in range(4)] == [502] * 4


@pytest.mark.parametrize("stop", [signal.SIGQUIT, signal.SIGTERM])
def test_stop_during_a_fetch(stop, stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "fetch_timeout_ms": "1500", "fetch_total_ms": "1500"})])
    client = socket.create_connection((net.HOST, port))
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    net.wait_until(lambda: stage.responder.count(peer.place), "the responder to be asked")
    assert front.stop(stop) == 0
    client.close()
    assert "exited on signal" not in front.errors()


@pytest.mark.parametrize("alive", [False, True])
def test_client_abort_during_a_fetch(alive, stage):
    """Nobody waits any more: no crash, no leak of the connection, and the answer is kept."""
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    front, port = stage.front(
        [fronts.location("/", peer, strict=True, target="pool", extra=ALIVE if alive else "",
                         policy={"fetch_timeout_ms": "5000"})], http=keepalive_pool(peer))
    workers = front.worker_pids()
    for _ in range(5):
        client = socket.create_connection((net.HOST, port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        time.sleep(0.1)
        client.close()
    net.wait_until(lambda: stage.responder.count(peer.place), "the responder to be asked")
    time.sleep(0.2)
    stage.responder.release(peer.place)
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert front.worker_pids() == workers


def test_peer_closes_during_a_fetch(stage):
    """The backend goes away while its chain is being judged: a fresh connection is made."""
    peer = stage.peer("held", ocsp="hold", options={"extra": "client_header_timeout 1s;"})
    stage.open()
    front, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "fetch_timeout_ms": "8000"})])
    pending = Pending(stage, peer, port)
    time.sleep(1.5)
    (answer,) = pending.finish()
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert "exited on signal" not in front.errors()
    assert stage.responder.count(peer.place) == 1


def test_a_peer_that_always_closes_is_given_up(stage):
    """Trying again after a wait for revocation has an end."""
    peer = stage.peer("hasty", ocsp="good", options={"extra": "client_header_timeout 100ms;"})
    stage.responder.place(peer.place, BEHAVIOURS["good"].but(delay_s=0.4))
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "ocsp_nonce": "on", "revocation_scope": "leaf"})])
    answer = net.get(port)
    assert answer.status == 502
    assert stage.responder.count(peer.place) <= 3


def test_hanging_responder_is_bounded_by_the_total(stage):
    peer = stage.peer("silent", ocsp="silent silent", issuer="silent_issuing",
                      serve="leaf silent_issuing intermediate")
    stage.open()
    _, port = stage.front([fronts.location("/", peer, strict=True, policy={
        "fetch_timeout_ms": "60000", "fetch_total_ms": "700"})])
    answer = net.get(port)
    assert (answer.status, *verdict(answer)) == (502, "reject", "fetch.timeout")
    assert answer.seconds < 30


def test_connect_timeout_does_not_cut_a_fetch_short(stage):
    peer = stage.peer("held", ocsp="hold")
    stage.open()
    _, port = stage.front([fronts.location(
        "/", peer, strict=True, extra="    proxy_connect_timeout 500ms;\n",
        policy={"fetch_timeout_ms": "8000"})])
    pending = Pending(stage, peer, port)
    time.sleep(1.2)
    (answer,) = pending.finish()
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


# ---- after the verdict -------------------------------------------------------------


@pytest.mark.parametrize("strict", ["off", "report", True], ids=["lax", "report", "strict"])
def test_renegotiation(strict, stage, tmp_path):
    """Stock nginx lets a TLS 1.2 peer renegotiate with whatever certificate; only strict does not."""
    peer = stage.peer("good")
    stage.open()
    with RenegotiatingServer(tmp_path, peer.backend.chain, peer.backend.key) as server:
        # Without a wait for revocation, after which a lost connection would be tried again.
        _, port = stage.front([fronts.location("/", peer, strict=strict, target=server.address,
                                               protocols="TLSv1.2",
                                               policy={"revocation": "off"})])
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(net.get, port)
            server.wait_for_request()
            server.renegotiate()
            server.answer()
            answer = pending.result(net.PATIENCE_S)
    assert server.renegotiated() == (strict is not True)
    assert answer.status == (200 if strict is not True else 502)
