"""Ways round a client's verdict: resumption, other virtual hosts, connections that live on.

The pattern of CVE-2025-23419 (a session made with one server, resumed with another) and of
CVE-2025-23048 (a connection made with one, used for another), with one session cache and one
set of ticket keys for all.
"""
import os
import subprocess
import threading
import time

import pytest

from tests.lab import crl, inbound_fronts, net
from tests.lab.responder import BEHAVIOURS, said
from tests.lab.tls_client import VERSIONS, Client, get_http2

A, B = "a.inbound.lab.test", "b.inbound.lab.test"
PATIENT = {"fetch_timeout_ms": "5000"}

# Good for six seconds, and asked about again after half of them: revoked by then.
AGEING = said(this_update_s=0, next_update_s=6).but(
    after=1, then=said(status="revoked", this_update_s=0))
EXACT = {"clock_skew_s": "0", "verdict_max_age_s": "3600"}

# How a client gets back to its session.
WAYS = {"tls12_ticket": ("tls12", True), "tls12_id": ("tls12", False), "tls13": ("tls13", True)}


def host(stage, name, *, trust="root", strict=True, policy=None, **fields):
    """A virtual host; all of them are told the same ticket keys."""
    return lambda port: inbound_fronts.server(
        stage.lab, port, name, stage.lab.bundle("trust", trust.split()) if trust else None,
        strict=strict, policy={**PATIENT, **(policy or {})}, **fields)


def front(stage, *hosts, **options):
    key = stage.lab.folder / "ticket.key"
    if not key.exists():
        key.write_bytes(os.urandom(80))
    return stage.inbound(lambda port: [host(port) for host in hosts],
                         http=f"ssl_session_ticket_key {key};", **options)


def told(answer):
    return answer.status, answer.headers.get("x-strict-tls-reason")


GOOD = (200, "none")


def session_of(client, port, name, host=None, wanted=GOOD):
    """What a client takes home from a first visit."""
    with client.connect(port, name) as connection:
        assert told(connection.get(host=host)) == wanted
        session = connection.session
    assert session is not None
    return session


def again(client, port, name, session, host=None):
    """(whether the session was resumed, what was answered)"""
    with client.connect(port, name, session) as connection:
        answer = connection.get(host=host)
        return connection.reused, told(answer)


# ---- resumption -----------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
def test_accepted_clients_resume(way, stage):
    """Without a question, with the same report, and as often as they like."""
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, host(stage, A))
    version, tickets = WAYS[way]
    client = Client(good.chain, good.key, version=version, tickets=tickets)
    session = session_of(client, port, A)
    for _ in range(2):
        assert again(client, port, A, session) == (True, GOOD)
    assert stage.responder.count(good.place) == 1
    with client.connect(port, A, session) as connection:
        answer = connection.get()
        assert answer.headers["x-strict-tls-verdict"] == "accept"
        assert answer.headers["x-verify"] == "SUCCESS"
        session = connection.session
    assert again(client, port, A, session) == (True, GOOD)


@pytest.mark.parametrize("reason, fields", [
    ("chain.incomplete", {"serve": "leaf"}),
    ("ocsp.revoked", {"ocsp": "revoked"}),
])
@pytest.mark.parametrize("way", WAYS)
def test_rejected_clients_do_not(way, reason, fields, stage):
    """Whatever they were given before the verdict was known is good for nothing."""
    bad = stage.lab.visitor("bad", **fields)
    stage.open()
    nginx, port = front(stage, host(stage, A))
    version, tickets = WAYS[way]
    client = Client(bad.chain, bad.key, version=version, tickets=tickets)
    session = session_of(client, port, A, wanted=(400, reason))
    assert again(client, port, A, session) == (False, (400, reason))


@pytest.mark.parametrize("way", WAYS)
def test_revoked_while_the_session_lives(way, stage):
    good = stage.lab.visitor("good")
    stage.responder.place(good.place, AGEING)
    stage.open()
    nginx, port = front(stage, host(stage, A, policy=EXACT))
    version, tickets = WAYS[way]
    client = Client(good.chain, good.key, version=version, tickets=tickets)
    session = session_of(client, port, A)
    seen = [again(client, port, A, session)]
    while seen[-1][1] == GOOD and len(seen) < 100:
        time.sleep(0.2)
        seen.append(again(client, port, A, session))
    assert seen[-1] == (False, (400, "ocsp.revoked"))
    assert again(client, port, A, session) == (False, (400, "ocsp.revoked"))


@pytest.mark.parametrize("way", WAYS)
def test_without_a_remembered_verdict(way, stage):
    """With nonces none is: a full handshake each time, and another question."""
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, host(stage, A, policy={"ocsp_nonce": "on"}))
    version, tickets = WAYS[way]
    client = Client(good.chain, good.key, version=version, tickets=tickets)
    session = session_of(client, port, A)
    assert again(client, port, A, session) == (False, GOOD)
    assert stage.responder.count(good.place) == 2


@pytest.mark.parametrize("way", ["tls12_ticket", "tls13"])
def test_a_reload_that_makes_strict(way, stage):
    """Sessions from before, good by the same ticket keys, carry no verdict: a full handshake."""
    gap = stage.lab.visitor("gap", serve="leaf issuing")
    good = stage.lab.visitor("good")
    stage.open()
    lax = host(stage, A, trust="root intermediate", strict=False, extra="ssl_verify_depth 5;")
    nginx, port = front(stage, lax)
    version, tickets = WAYS[way]
    clients = [Client(scene.chain, scene.key, version=version) for scene in (gap, good)]
    sessions = [session_of(client, port, A, wanted=(200, None)) for client in clients]
    assert again(clients[0], port, A, sessions[0]) == (True, (200, None))
    nginx.rewrite(lambda port: [host(stage, A, trust="root intermediate")(port)],
                  f"ssl_session_ticket_key {stage.lab.folder}/ticket.key;")
    nginx.reload()
    assert again(clients[0], port, A, sessions[0]) == (False, (400, "chain.incomplete"))
    assert again(clients[1], port, A, sessions[1]) == (False, GOOD)


def test_another_worker(stage):
    """It has not seen the chain: a full handshake there, and resumption from then on."""
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, host(stage, A), workers=2)
    client = Client(good.chain, good.key)
    session = session_of(client, port, A)
    for _ in range(12):
        assert again(client, port, A, session)[1] == GOOD


def test_no_early_data(stage):
    """Even where the administrator wants it."""
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, host(stage, A, extra="ssl_early_data on;"),
                        host(stage, B, strict=False, verify="off", extra="ssl_early_data on;"))
    for name, size in [(A, "0"), (B, "16384")]:
        done = subprocess.run(
            ["openssl", "s_client", "-tls1_3", "-connect", f"{net.HOST}:{port}", "-servername",
             name, "-cert", good.leaf.cert_path, "-cert_chain", good.chain, "-key", good.key,
             "-ign_eof"],
            input=f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n", capture_output=True, text=True,
            timeout=30)
        assert "HTTP/1.1 200 OK" in done.stdout and f"Max Early Data: {size}" in done.stdout


# ---- other virtual hosts ----------------------------------------------------------------

def other(stage, kind):
    """The server that a client visits first, and which likes it."""
    return {
        "other_policy": host(stage, A, policy={"chain_extra": "allow"}),
        "other_ca": host(stage, A, trust="root stranger"),
        "report": host(stage, A, strict="report", trust="root intermediate issuing",
                       extra="ssl_verify_depth 5;"),
        "lax": host(stage, A, strict=False, trust="root intermediate issuing",
                    extra="ssl_verify_depth 5;"),
        "optional": host(stage, A, strict=False, verify="optional_no_ca", trust=None),
        "nobody": host(stage, A, strict=False, verify="off"),
    }[kind]


OTHERS = ["other_policy", "other_ca", "report", "lax", "optional", "nobody"]


def tough(stage):
    """The server that does not want it."""
    return host(stage, B, policy={"chain_extra": "deny"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", OTHERS)
def test_a_session_of_another_server(kind, way, stage):
    """CVE-2025-23419: it is not resumed, and its owner is judged as anybody."""
    bad = stage.lab.visitor("bad", serve="leaf stranger issuing intermediate")
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, other(stage, kind), tough(stage))
    version, tickets = WAYS[way]
    for scene, wanted in [(bad, (400, "chain.extra")), (good, GOOD)]:
        client = Client(scene.chain, scene.key, version=version, tickets=tickets)
        with client.connect(port, A) as connection:
            assert connection.get().status == 200
            session = connection.session
        assert again(client, port, B, session) == (False, wanted)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", OTHERS)
def test_a_connection_of_another_server(kind, version, stage):
    """CVE-2025-23048: nginx sends the request away, in HTTP/1.1 and HTTP/2."""
    bad = stage.lab.visitor("bad", serve="leaf stranger issuing intermediate")
    stage.open()
    nginx, port = front(stage, other(stage, kind), tough(stage))
    with Client(bad.chain, bad.key, version=version).connect(port, A) as connection:
        assert connection.get().status == 200
        assert connection.get(host=B).status == 421
    answers = get_http2(port, A, bad.chain, bad.key, version=version, hosts=(None, B, None))
    assert [answer.status for answer in answers] == [200, 421, 200]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", OTHERS)
def test_no_name_in_the_handshake(kind, version, stage):
    """Then nginx lets the Host decide: who is judged by that server's policy, and as a whole."""
    bad = stage.lab.visitor("bad", serve="leaf stranger issuing intermediate")
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, other(stage, kind), tough(stage))
    # Where the first server looks at no certificate, nginx itself lets nobody into the second.
    unseen = kind in ("optional", "nobody")
    for scene, wanted in [(bad, (400, None) if unseen else (400, "chain.extra")),
                          (good, (400, None) if unseen else GOOD)]:
        client = Client(scene.chain, scene.key, version=version)
        with client.connect(port, None) as connection:
            assert connection.get(host=A).status == 200
            assert told(connection.get(host=B)) == wanted
        # Resumed, such a connection has lost its chain, unless a verdict has kept it.
        with client.connect(port, None) as connection:
            assert connection.get(host=A).status == 200
            session = connection.session
        with client.connect(port, None, session) as connection:
            assert connection.get(host=A).status == 200
            lost = connection.reused and kind == "lax"
            assert told(connection.get(host=B)) == ((400, "session.unverified") if lost
                                                    else wanted)


# ---- connections that live on --------------------------------------------------------------

@pytest.mark.parametrize("version", VERSIONS)
def test_revoked_while_the_connection_lives(version, stage):
    good = stage.lab.visitor("good")
    stage.responder.place(good.place, AGEING)
    stage.open()
    nginx, port = front(stage, host(stage, A, policy=EXACT))
    with Client(good.chain, good.key, version=version).connect(port, A) as connection:
        seen = [told(connection.get())]
        while seen[-1] == GOOD and len(seen) < 100:
            time.sleep(0.2)
            seen.append(told(connection.get()))
        assert len(seen) > 1 and seen[-1] == (400, "ocsp.revoked")
        assert connection.get().error


def test_revoked_while_http2_lives(stage):
    """The connection stays; nothing is served on it any more."""
    good = stage.lab.visitor("good")
    stage.responder.place(good.place, AGEING)
    stage.open()
    nginx, port = front(stage, host(stage, A, policy=EXACT))
    answers = get_http2(port, A, good.chain, good.key, hosts=(None,) * 9, rate="1/s")
    seen = [told(answer) for answer in answers]
    assert seen[0] == GOOD and seen[-1] == (400, "ocsp.revoked")
    assert seen == sorted(seen)


@pytest.mark.parametrize("version", VERSIONS)
def test_judged_again_while_the_connection_lives(version, stage):
    """Its time was over, and it is still good: nobody notices."""
    good = stage.lab.visitor("good")
    stage.responder.place(good.place, said(this_update_s=0, next_update_s=2).but(
        after=1, then=BEHAVIOURS["good"]))
    stage.open()
    nginx, port = front(stage, host(stage, A, policy=EXACT))
    with Client(good.chain, good.key, version=version).connect(port, A) as connection:
        assert told(connection.get()) == GOOD
        time.sleep(3.1)
        assert told(connection.get()) == GOOD
        assert told(connection.get()) == GOOD
    assert stage.responder.count(good.place) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_judged_again_after_resumption(version, stage):
    """A resumed connection has its chain, too."""
    good = stage.lab.visitor("good")
    stage.responder.place(good.place, said(this_update_s=0, next_update_s=4).but(
        after=1, then=BEHAVIOURS["good"]))
    stage.open()
    nginx, port = front(stage, host(stage, A, policy=EXACT))
    client = Client(good.chain, good.key, version=version)
    session = session_of(client, port, A)
    with client.connect(port, A, session) as connection:
        assert connection.reused
        assert told(connection.get()) == GOOD
        time.sleep(5.1)
        assert told(connection.get()) == GOOD
    assert stage.responder.count(good.place) == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_crl_file_changes(way, stage, tmp_path):
    """What was accepted by its old content ends: connections and sessions."""
    good = stage.lab.visitor("good")
    stage.open()
    file = crl.CrlFile(stage.lab, tmp_path / "crls.pem")
    nginx, port = front(stage, host(stage, A, policy={"short_lived_s": "0",
                                                      "crl_file": str(file.path)}))
    version, tickets = WAYS[way]
    client = Client(good.chain, good.key, version=version, tickets=tickets)
    session = session_of(client, port, A)
    assert again(client, port, A, session) == (True, GOOD)
    revoked = (400, "crl.revoked")
    with client.connect(port, A) as connection:
        assert told(connection.get()) == GOOD
        file.write(good.leaf)
        net.wait_until(lambda: again(client, port, A, session)[1] == revoked, "the new CRL")
        assert told(connection.get()) == revoked
    assert again(client, port, A, session) == (False, revoked)
    assert stage.responder.count(good.place) == 0


def test_renegotiation(stage):
    """Nobody comes with other certificates after the verdict."""
    good = stage.lab.visitor("good")
    stage.open()
    nginx, port = front(stage, host(stage, A))
    with subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-connect", f"{net.HOST}:{port}", "-servername", A,
             "-cert", good.leaf.cert_path, "-cert_chain", good.chain, "-key", good.key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        patience = threading.Timer(20, client.kill)
        patience.start()
        client.stdin.write(b"R\n")
        client.stdin.flush()
        said = client.stdout.read()  # the refusal ends it, not its input
        patience.cancel()
    assert b"RENEGOTIATING" in said and b"no renegotiation" in said
