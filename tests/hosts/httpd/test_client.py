"""Clients' certificates: the inbound table through httpd, and what stands around it."""
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import httpd_inbound, net
from tests.lab.httpd import MPMS
from tests.lab.inbound import INBOUND_BY_ID, server_name
from tests.lab.responder import said
from tests.lab.tls_client import VERSIONS, Client, get_http2
from tests.lab.verdicts import ACCEPT, verdict

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}

# mod_ssl has its say as well, and refuses what the policy of this row takes.
MOD_SSL_REFUSES = {"server_purpose_any"}
# OpenSSL cannot put a certificate of this size into a TLS 1.2 ticket.
NO_TICKET = {"too_big_allowed"}

ALERTS = {
    "chain.incomplete": "UNKNOWN_CA", "chain.untrusted": "UNKNOWN_CA",
    "chain.self_signed": "UNKNOWN_CA", "chain.expired": "CERTIFICATE_EXPIRED",
    "chain.bad_signature": "DECRYPT_ERROR", "chain.purpose": "UNSUPPORTED_CERTIFICATE",
    "chain.extra": "BAD_CERTIFICATE", "chain.weak": "BAD_CERTIFICATE",
    "ocsp.revoked": "CERTIFICATE_REVOKED", "ocsp.unknown": "CERTIFICATE_UNKNOWN",
    "fetch.timeout": "CERTIFICATE_UNKNOWN",
}


@pytest.fixture(scope="module")
def inbound(inbound_lab):
    front, port = httpd_inbound.inbound_front(inbound_lab, inbound_lab.folder / "httpd",
                                              policy=PATIENT, ready_s=60)
    yield front, port
    front.stop()


def assert_refused(answer, front, reason, subject=""):
    """By an alert, and a line in the log that says why and whom."""
    assert answer.status is None, answer
    assert "ALERT" in answer.error, answer
    assert answer.error.endswith(ALERTS.get(reason, answer.error)), answer
    logged = front.verdicts()
    assert [(line.word, line.level, line.reason) for line in logged] == [
        ("reject", "error", reason)], front.new_errors()
    if subject is not None:
        assert f'="CN={subject}' in logged[0].line
    assert logged[0].fields["addr"].startswith(f"{net.HOST}:")
    assert logged[0].fields["remedy"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_table(id, version, inbound_lab, inbound):
    row, scene = INBOUND_BY_ID[id], inbound_lab.client_scenes[id]
    front, port = inbound
    front.mark()
    client = Client(scene.chain, scene.key, version=version, tickets=id not in NO_TICKET)
    answer = client.get(port, server_name(id))
    if id in MOD_SSL_REFUSES:
        assert answer.error.endswith("ALERT_UNSUPPORTED_CERTIFICATE")
        assert front.verdicts() == []
    elif row.reason:
        # Of what exceeds max_chain_bytes nothing is kept, no subject either.
        assert_refused(answer, front, row.reason, f"client_{id}," if id != "too_big" else None)
    else:
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT), front.new_errors()
        assert answer.headers["x-host"] == server_name(id)
        assert f'"subject":"CN=client_{id},' in answer.headers["x-strict-tls-report"]
        assert front.verdicts() == []
    if row.asked is not None:
        assert bool(inbound_lab.responder.count(scene.place)) == row.asked


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", ["good", "leaf_only", "misordered", "server_purpose", "revoked",
                                "revoked_intermediate", "silent"])
def test_http2(id, version, inbound_lab, inbound):
    row, scene = INBOUND_BY_ID[id], inbound_lab.client_scenes[id]
    front, port = inbound
    front.mark()
    [answer] = get_http2(port, server_name(id), scene.chain, scene.key, version=version)
    if row.reason:
        assert answer.status is None or answer.error
        assert [line.reason for line in front.verdicts()] == [row.reason]
    else:
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT)


# ---- report, optional, off -------------------------------------------------------------


def visitors(lab):
    return {"good": lab.visitor("good"),
            "gap": lab.visitor("gap", serve="leaf"),
            "revoked": lab.visitor("revoked", ocsp="revoked")}


REASONS = {"good": "none", "gap": "chain.incomplete", "revoked": "ocsp.revoked"}


@pytest.mark.parametrize("version", VERSIONS)
def test_report(version, door):
    """Nobody is refused; log and environment say who would be."""
    who = visitors(door.lab)
    bundle = door.lab.bundle("trust", ["root", "intermediate", "issuing"])
    front = door.open(door.vhost("a", bundle, strict="report"))
    for name, visitor in who.items():
        front.mark()
        answer = door.get(visitor, "a", version=version)
        word = "accept" if name == "good" else "would_reject"
        assert (answer.status, *verdict(answer)) == (200, word, REASONS[name])
        assert [(line.word, line.level, line.reason) for line in front.verdicts()] == (
            [] if name == "good" else [("would_reject", "warn", REASONS[name])])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("verify", ["optional", "optional_no_ca"])
def test_optional(verify, version, door):
    """Who presents nothing is not judged; what is presented is, whatever mod_ssl would let pass."""
    who = visitors(door.lab)
    front = door.open(door.vhost("a", verify=verify))
    for name, visitor in who.items():
        front.mark()
        answer = door.get(visitor, "a", version=version)
        if name == "good":
            assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
        else:
            assert_refused(answer, front, REASONS[name], f"client_{name},")
    answer = door.get(None, "a", version=version)
    assert (answer.status, answer.headers["x-verify"]) == (200, "NONE")
    assert verdict(answer) in [(None, None), ("", "")]


@pytest.mark.parametrize("version", VERSIONS)
def test_off_and_required(version, door):
    """Off is stock httpd; without a certificate mod_ssl refuses as ever."""
    who = visitors(door.lab)
    bundle = door.lab.bundle("trust", ["root", "intermediate", "issuing"])
    door.open(door.vhost("a", bundle, strict="off"), door.vhost("b"))
    for visitor in who.values():
        answer = door.get(visitor, "a", version=version)
        assert (answer.status, answer.headers["x-verify"]) == (200, "SUCCESS")
        assert verdict(answer) in [(None, None), ("", "")]
    answer = door.get(None, "b", version=version)
    assert answer.status is None and "ALERT" in answer.error


# ---- whom to trust, and by which rules ----------------------------------------------------


def test_mod_ssl_depth(door):
    """mod_ssl's default SSLVerifyDepth of 1 stays in force."""
    deep = door.lab.visitor("deep")
    near = door.lab.visitor("near", "root", "leaf", ocsp="good")
    front = door.open(door.vhost("a", depth=None))
    assert door.get(near, "a").status == 200
    front.mark()
    assert door.get(deep, "a").status is None
    assert "Certificate Chain too long" in front.new_errors()
    assert front.verdicts() == []


def test_trust(door, tmp_path):
    """mod_ssl's CA certificates are whom clients' chains must lead to, unless anchors are named."""
    good = door.lab.visitor("good")
    stranger = door.lab.visitor("stranger", "stranger_issuing", "leaf stranger_issuing")
    root, other = (door.lab.pki[label].cert_path for label in ("root", "stranger"))
    both = door.lab.bundle("trust", ["root", "stranger"])
    folder = tmp_path / "ca"
    folder.mkdir()
    (folder / "0123abcd.0").write_bytes(root.read_bytes())
    (folder / "README").write_text("not a certificate\n")
    front = door.open(
        door.vhost("file", both),
        door.vhost("folder", "", extra=f"SSLCACertificateFile {other}\n"
                   f"SSLCACertificatePath {folder}\n"),
        door.vhost("narrow", both, extra=f"StrictTLSClientTrustedCertificate {root}\n"),
        door.vhost("other", root, extra=f"StrictTLSClientTrustedCertificate {other}\n"))
    assert door.get(good, "file").status == 200
    assert door.get(stranger, "file").status == 200
    front.mark()
    assert door.get(good, "folder").status is None  # no hashed name: OpenSSL does not find it ...
    assert front.verdicts() == []  # ... the anchors are complete
    assert door.get(stranger, "folder").status == 200
    assert door.get(good, "narrow").status == 200
    front.mark()
    assert_refused(door.get(stranger, "narrow"), front, "chain.untrusted", "client_stranger")
    front.mark()
    assert_refused(door.get(good, "other"), front, "chain.untrusted", "client_good")
    front.mark()
    assert door.get(stranger, "other").status is None  # mod_ssl's own trust stays in force
    assert front.verdicts() == []


def test_keys_default_to_those_for_backends(door):
    silent = door.lab.visitor("silent", ocsp="silent")
    soft = "StrictTLSRevocation soft\n"
    front = door.open(
        door.vhost("a", extra=soft),
        door.vhost("b", extra=soft + "StrictTLSClientRevocation hard\n"),
        door.vhost("c", extra=soft + "StrictTLSClientPreset strict\n"),
        door.vhost("d"))
    assert verdict(door.get(silent, "a")) == ACCEPT
    for name in ("b", "c", "d"):
        front.mark()
        assert_refused(door.get(silent, name), front, "fetch.timeout", "client_silent")


def test_levels(door):
    """What stands in the server's configuration counts for its virtual hosts."""
    who = visitors(door.lab)
    front = door.open(
        door.vhost("a", strict=False), door.vhost("b", strict=False, extra="StrictTLSClient off\n"),
        door.vhost("c", strict=False, extra="StrictTLSClientRevocation off\n"),
        main="StrictTLSClient on\nStrictTLSClientFetchDeny none\n")
    front.mark()
    assert_refused(door.get(who["revoked"], "a"), front, "ocsp.revoked")
    assert door.get(who["revoked"], "b").status == 200
    assert verdict(door.get(who["revoked"], "c")) == ACCEPT
    front.mark()
    assert_refused(door.get(who["gap"], "c"), front, "chain.incomplete")


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_is_asked(version, door):
    """A virtual host that inherits StrictTLSClient and asks for no certificate serves everybody."""
    stranger = door.lab.visitor("stranger", "stranger", "leaf")
    front = door.open(door.vhost("a", strict=False),
                      *(door.vhost(name, False, verify=None, strict=False) for name in "bc"),
                      main="StrictTLSClient on\nStrictTLSClientFetchDeny none\n")
    for name in "bc":
        for visitor in (None, stranger):
            assert door.get(visitor, name, version=version).status == 200
    answer = door.get(None, "b", version=version, host="c.inbound.lab.test")
    assert answer.status == 200, front.new_errors()
    answer = door.get(None, "b", version=version, host="a.inbound.lab.test")
    assert answer.status == 421


# ---- responders -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_hanging_responder(version, door):
    """Who waits is refused in bounded time; others are served meanwhile."""
    good = door.lab.visitor("good")
    hanging = [door.lab.visitor(f"hanging{n}", ocsp="silent") for n in range(4)]
    front = door.open(door.vhost("a", policy={"fetch_timeout_ms": "60000",
                                              "fetch_total_ms": "2500"}), threads=12)
    assert door.get(good, "a", version=version).status == 200
    front.mark()
    with ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        pending = [pool.submit(door.get, visitor, "a", version=version) for visitor in hanging]
        net.wait_until(lambda: all(map(door.lab.responder.count,
                                       (visitor.place for visitor in hanging))), "the questions")
        assert door.get(good, "a", version=version).status == 200
        assert not any(one.done() for one in pending)
        answers = [one.result(net.PATIENCE_S) for one in pending]
    assert time.monotonic() - started < 20
    assert {answer.error[-20:] for answer in answers} == {"_CERTIFICATE_UNKNOWN"}
    assert [line.reason for line in front.verdicts()] == ["fetch.timeout"] * 4


def test_nothing_is_fetched_for_a_stranger(door):
    """An unauthenticated client does not choose where this server connects."""
    stranger = door.lab.visitor("stranger", "stranger_issuing", "leaf stranger_issuing")
    front = door.open(door.vhost("a"))
    assert_refused(door.get(stranger, "a"), front, "chain.untrusted")
    assert door.lab.responder.count(stranger.place) == 0


@pytest.mark.parametrize("mpm", MPMS)
def test_every_mpm(mpm, door):
    who = visitors(door.lab)
    front = door.open(door.vhost("a"), mpm=mpm, threads=8)
    names = list(who) * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: door.get(who[name], "a"), names))
    assert [answer.status for answer in answers] == [200 if name == "good" else None
                                                     for name in names]
    assert sorted(line.reason for line in front.verdicts()) == ["chain.incomplete"] * 6 + [
        "ocsp.revoked"] * 6
    assert "exit signal" not in front.errors()


def test_figures(door):
    """mod_status counts clients; the status page shows them and why they were refused."""
    who = visitors(door.lab)
    door.open(door.vhost("a", extra='<Location "/peers.json">\nSetHandler strict-tls-status\n'
                         "</Location>\n"))
    for visitor in who.values():
        door.get(visitor, "a")
    text = door.get(who["good"], "a", "/?auto").body.decode()
    assert "StrictTLSClientAccepted: 2\n" in text
    assert "StrictTLSClientRejected: 2\n" in text
    page = json.loads(door.get(who["good"], "a", "/peers.json").body)
    found = {peer["report"]["certs"][0]["subject"].split(",")[0]: (peer["direction"], peer["reason"])
             for peer in page["peers"]}
    assert found == {f"CN=client_{name}": ("inbound", reason) for name, reason in REASONS.items()}


# ---- connections that live on ------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_verdict_is_renewed(version, door):
    """A verdict that is over is made anew, once, while the connection goes on."""
    good = door.lab.visitor("good", ocsp="good")
    front = door.open(door.vhost("a", policy={"verdict_max_age_s": "1"}), processes=1)
    with door.client(good, version=version).connect(door.port, "a.inbound.lab.test") as connection:
        for _ in range(2):
            answer = connection.get()
            assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
            time.sleep(2.2)
        assert connection.get().status == 200
    assert front.verdicts() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_revoked_meanwhile(version, door):
    """Later requests on a kept connection are refused, and it is closed."""
    brief = door.lab.visitor("brief")
    place = door.lab.responder.place
    place(brief.place, said(this_update_s=-5, next_update_s=3))
    front = door.open(door.vhost("a", policy={"clock_skew_s": "0"}, extra=(
        'ErrorDocument 403 "refused: %{reqenv:STRICT_TLS_CLIENT_REASON}"\n')))
    with door.client(brief, version=version).connect(door.port, "a.inbound.lab.test") as connection:
        assert connection.get().status == 200
        place(brief.place, "revoked")
        found = net.wait_until(
            lambda: (answer := connection.get()).status != 200 and answer, "the revocation", step_s=0.5)
        assert (found.status, *verdict(found)) == (403, "reject", "ocsp.revoked")
        assert found.headers["connection"] == "close"
        assert found.body.decode().strip() == "refused: ocsp.revoked"
    assert [line.reason for line in front.verdicts()] == ["ocsp.revoked"]
    front.mark()
    assert_refused(door.get(brief, "a", version=version), front, "ocsp.revoked", "client_brief")


def test_revoked_meanwhile_http2(door):
    """Nothing more is served on the connection."""
    brief = door.lab.visitor("brief")
    place = door.lab.responder.place
    place(brief.place, said(this_update_s=-5, next_update_s=3))
    front = door.open(door.vhost("a", policy={"clock_skew_s": "0"}))
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(get_http2, door.port, "a.inbound.lab.test", brief.chain, brief.key,
                              hosts=(None,) * 8, rate="1/s")
        net.wait_until(lambda: door.lab.responder.count(brief.place), "the question")
        place(brief.place, "revoked")
        answers = pending.result(net.PATIENCE_S)
    found = [answer.status for answer in answers]
    assert found[0] == 200 and found[-1] == 403
    assert found == sorted(found)
    assert verdict(answers[-1]) == ("reject", "ocsp.revoked")
    assert {line.reason for line in front.verdicts()} == {"ocsp.revoked"}


def test_graceful_restart(door):
    gap = door.lab.visitor("gap", serve="leaf")
    bundle = door.lab.bundle("trust", ["root", "intermediate", "issuing"])
    front = door.open(door.vhost("a", bundle, strict="off"))
    assert door.get(gap, "a").status == 200
    front.rewrite(door.vhost("a", bundle))
    front.graceful()
    net.wait_until(lambda: door.get(gap, "a").status is None, "the new configuration")
    front.rewrite(door.vhost("a", bundle, strict="off"))
    front.graceful()
    net.wait_until(lambda: door.get(gap, "a").status == 200, "the old configuration")
    assert "exit signal" not in front.errors()
