"""Clients of stream servers: the inbound scenario table, waiting, and no way round a verdict."""
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import net, stream_fronts
from tests.lab.inbound import INBOUND_BY_ID
from tests.lab.stream_fronts import INBOUND, inbound_server
from tests.lab.tls_client import VERSIONS, Client

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}
SLOW = {"fetch_timeout_ms": "60000", "fetch_total_ms": "60000"}

ACCEPT = ("verify=SUCCESS\n", "accept", "none")


def seen(visit):
    return visit.text, visit.verdict, visit.reason


def refused(reason):
    return "", "reject", reason


@pytest.fixture(scope="module")
def inbound(inbound_lab):
    front = stream_fronts.inbound_front(inbound_lab, inbound_lab.folder / "stream-inbound",
                                        policy=PATIENT)
    yield front
    front.stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", INBOUND_BY_ID)
def test_scenario(id, version, inbound_lab, inbound):
    scenario, scene = INBOUND_BY_ID[id], inbound_lab.client_scenes[id]
    inbound.mark()
    visit = inbound.visit(id, Client(scene.chain, scene.key, version=version))
    logged = inbound.verdicts()
    assert visit.reason == (scenario.reason or "none"), visit.report
    assert visit.report["role"] == "client"
    if scenario.reason:
        assert (visit.text, visit.verdict) == ("", "reject")
        assert [(line.word, line.level, line.reason) for line in logged] == [
            ("reject", "error", scenario.reason)]
        assert logged[0].fields["remedy"]
    else:
        assert seen(visit) == ACCEPT
        assert logged == []
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in visit.report["findings"]]
    if scenario.asked is not None:
        assert bool(inbound_lab.responder.count(scene.place)) == scenario.asked


# ---- modes of asking ---------------------------------------------------------------


def front_of(stage, servers, extra="", **options):
    return stage.stream(servers, extra=INBOUND + extra, listen="ssl", log="client", **options)


def one(stage, **fields):
    fields["policy"] = {**PATIENT, **fields.get("policy", {})}
    return {"strict": inbound_server(stage.lab, stage.lab.pki["root"].cert_path, **fields)}


def test_report(stage):
    """Nobody is refused by report mode; what nginx itself refuses, it still does."""
    revoked = stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked")
    gap = stage.lab.visitor("gap", serve="leaf intermediate")
    stage.open()
    front = front_of(stage, one(stage, strict="report"))
    assert seen(front.visit("strict", Client(revoked.chain, revoked.key))) == (
        "verify=SUCCESS\n", "would_reject", "ocsp.revoked")
    assert seen(front.visit("strict", Client(gap.chain, gap.key))) == (
        "", "would_reject", "chain.incomplete")


@pytest.mark.parametrize("verify", ["optional", "optional_no_ca"])
def test_optional(verify, stage):
    """Who presents nothing is not judged, who presents something is, and nothing is forgiven."""
    good = stage.lab.visitor("good")
    gap = stage.lab.visitor("gap", serve="leaf")
    stranger = stage.lab.visitor("stranger", "stranger_issuing", "leaf stranger_issuing")
    stage.open()
    front = front_of(stage, one(stage, verify=verify))
    assert seen(front.visit("strict", Client())) == ("verify=NONE\n", "", "")
    for scene, expected in [(good, ACCEPT), (gap, refused("chain.incomplete")),
                            (stranger, refused("chain.untrusted"))]:
        assert seen(front.visit("strict", Client(scene.chain, scene.key))) == expected


def test_nobody(stage):
    stage.open()
    front = front_of(stage, one(stage))
    assert seen(front.visit("strict", Client())) == ("", "", "")


def test_both_sides(stage):
    """A client and an upstream, each judged by its own rules, in one session."""
    good, gap = stage.lab.visitor("good"), stage.lab.visitor("gap", serve="leaf")
    bad, fine = stage.peer("bad", serve="leaf"), stage.peer("fine")
    stage.open()

    def both(peer):
        return one(stage)["strict"].replace('return "verify=$ssl_client_verify\\n";', "") \
            + stream_fronts.server(peer, strict=True)

    front = front_of(stage, {"fine": both(fine), "bad": both(bad)})
    for id, scene, said in [("fine", good, ("accept", "none")),
                            ("bad", good, ("accept", "none")),
                            ("fine", gap, ("reject", "chain.incomplete"))]:
        front.mark()
        assert seen(front.visit(id, Client(scene.chain, scene.key), timeout_s=3))[1:] == said
        lines = [(line.fields["peer"].split(",")[0], line.reason) for line in front.verdicts()]
        assert lines == {"bad": [("backend.lab.test", "chain.incomplete")]}.get(
            id, [] if scene is good else [("CN=client_gap", "chain.incomplete")])


@pytest.mark.parametrize("fields, words", [
    ({"verify": "off"}, '"strict_tls_client" has nobody to judge'),
    ({"strict": "maybe"}, 'it must be "on", "off" or "report"'),
    ({"extra": "strict_tls_client_revocation firm;"}, '"strict_tls_client_revocation" directive:'),
    ({"verify": "optional_no_ca", "trust": None}, "needs to know whom to trust"),
])
def test_wrong_configuration(fields, words, stage, tmp_path):
    fields = {"trust": stage.lab.pki["root"].cert_path, **fields}
    front = stream_fronts.StreamFront(tmp_path / "t", {
        "strict": inbound_server(stage.lab, fields.pop("trust"), **fields)}, listen="ssl")
    status, said = front.test()
    front.stop()
    assert status != 0 and words in said


@pytest.mark.parametrize("verify, is_told", [("off", True), ("on", False)])
def test_nobody_asks(verify, is_told, stage, tmp_path):
    """In stream{} it is for those servers that ask; where none does, nginx -t says so."""
    front = stream_fronts.StreamFront(tmp_path / "t", {
        "lax": inbound_server(stage.lab, stage.lab.pki["root"].cert_path, strict=False,
                              verify=verify)}, listen="ssl", extra="strict_tls_client on;")
    status, said = front.test()
    front.stop()
    assert (status, "no server asks for certificates" in said) == (0, is_told), said


def test_keys_default_to_those_of_upstreams(stage):
    revoked = stage.lab.visitor("revoked", ocsp="revoked")
    stage.open()
    for block, server, reason in [
            ("strict_tls_revocation off;", "", "none"),
            ("", "strict_tls_revocation off;", "none"),
            ("strict_tls_revocation off;", "strict_tls_client_revocation hard;", "ocsp.revoked")]:
        front = front_of(stage, one(stage, extra=server), extra=block)
        assert front.visit("strict", Client(revoked.chain, revoked.key)).reason == reason


# ---- waiting -------------------------------------------------------------------------


def test_others_do_not_wait(stage):
    """One worker, a responder that does not answer: all other clients are served meanwhile."""
    held = stage.lab.visitor("held", ocsp="hold")
    good = stage.lab.visitor("good")
    stage.open()
    front = front_of(stage, {"strict": one(stage, policy=SLOW)["strict"],
                             "other": one(stage, policy=SLOW)["strict"]})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(front.visit, "strict", Client(held.chain, held.key))
        net.wait_until(lambda: stage.responder.count(held.place), "the question")
        assert seen(front.visit("other", Client(good.chain, good.key))) == ACCEPT
        front.reload()  # the old worker answers what it was asked
        assert not waiting.done()
        stage.responder.release(held.place)
        assert seen(waiting.result(net.PATIENCE_S)) == ACCEPT
    assert seen(front.visit("strict", Client(held.chain, held.key))) == ACCEPT
    assert stage.responder.count(held.place) <= 2


@pytest.mark.parametrize("version", VERSIONS)
def test_gone_while_waiting(version, stage):
    """The client closes: nothing is left over, and its answer serves the next one."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front = front_of(stage, one(stage, policy=SLOW))
    workers = front.worker_pids()
    client = Client(held.chain, held.key, version=version)
    with client.wrap(front.connect("strict"), None) as tls:
        tls.sendall(b"x")
        net.wait_until(lambda: stage.responder.count(held.place), "the question")
    stage.responder.release(held.place)
    net.wait_until(lambda: front.lines("strict"), "the end of the session")
    assert seen(front.visit("strict", client)) == ACCEPT
    assert stage.responder.count(held.place) == 1
    assert front.worker_pids() == workers


def test_time_is_over(stage):
    """fetch_total_ms bounds the wait."""
    held = stage.lab.visitor("held", ocsp="hold")
    stage.open()
    front = front_of(stage, one(stage, policy={"fetch_timeout_ms": "300",
                                               "fetch_total_ms": "300"}))
    assert seen(front.visit("strict", Client(held.chain, held.key))) == refused("fetch.timeout")


def test_nothing_is_remembered(stage):
    """Who has waited is answered by what came of it, though that serves nobody else."""
    silent = stage.lab.visitor("silent", ocsp="silent")
    stage.open()
    front = front_of(stage, one(stage, policy={
        "negative_ttl_s": "0", "ocsp_nonce": "on", "fetch_timeout_ms": "300",
        "fetch_total_ms": "300"}))
    for asked in (1, 2):
        assert seen(front.visit("strict", Client(silent.chain, silent.key))) == refused(
            "fetch.timeout")
        assert stage.responder.count(silent.place) == asked


# ---- resumed sessions -------------------------------------------------------------------


def kinds(function):
    """TLS 1.2 by ticket and by session id, and TLS 1.3."""
    return pytest.mark.parametrize("client", [
        {"version": "tls12"}, {"version": "tls12", "tickets": False}, {"version": "tls13"}],
        ids=["tls12-ticket", "tls12-id", "tls13"])(function)


@kinds
def test_resumption_within_a_policy(client, stage):
    good = stage.lab.visitor("good")
    stage.open()
    front = front_of(stage, one(stage))
    visitor = Client(good.chain, good.key, **client)
    first = front.visit("strict", visitor)
    again = front.visit("strict", visitor, first.session)
    assert [seen(visit) for visit in (first, again)] == [ACCEPT] * 2
    assert [visit.resumed for visit in (first, again)] == [False, True]


@kinds
def test_no_resumption_from_lax_to_strict(client, stage):
    """CVE-2025-23419's pattern: servers that share tickets and a cache, and only one is strict."""
    gap = stage.lab.visitor("gap", serve="leaf")
    revoked = stage.lab.visitor("revoked", "root", "leaf", ocsp="revoked")
    stage.open()
    keys = stage.lab.folder / "ticket.key"
    keys.write_bytes(os.urandom(80))
    shared = f"ssl_session_ticket_key {keys};\n"
    front = front_of(stage, {
        "strict": one(stage)["strict"],
        "lax": one(stage, strict=False)["strict"]}, extra=shared)
    visitor = Client(revoked.chain, revoked.key, **client)
    lax = front.visit("lax", visitor)
    assert lax.text == "verify=SUCCESS\n"
    assert front.visit("lax", visitor, lax.session).resumed  # the control
    strict = front.visit("strict", visitor, lax.session)
    assert (seen(strict), strict.resumed) == (refused("ocsp.revoked"), False)
    assert seen(front.visit("strict", Client(gap.chain, gap.key, **client))) == refused(
        "chain.incomplete")


@kinds
def test_no_resumption_across_policies(client, stage):
    """What a softer server let in makes a full handshake with a harder one."""
    silent = stage.lab.visitor("silent", ocsp="silent")
    stage.open()
    keys = stage.lab.folder / "ticket.key"
    keys.write_bytes(os.urandom(80))
    soft = {"revocation": "soft", "fetch_timeout_ms": "300"}
    front = front_of(stage, {
        "soft": one(stage, policy=soft)["strict"],
        "hard": one(stage, policy={**soft, "revocation": "hard"})["strict"]},
        extra=f"ssl_session_ticket_key {keys};\n")
    visitor = Client(silent.chain, silent.key, **client)
    first = front.visit("soft", visitor)
    assert seen(first) == ACCEPT
    assert front.visit("soft", visitor, first.session).resumed  # the control
    hard = front.visit("hard", visitor, first.session)
    assert (seen(hard), hard.resumed) == (refused("fetch.timeout"), False)


@kinds
def test_a_session_ends_with_its_verdict(client, stage):
    good = stage.lab.visitor("good")
    stage.open()
    front = front_of(stage, one(stage, policy={"verdict_max_age_s": "2"}))
    visitor = Client(good.chain, good.key, **client)
    first = front.visit("strict", visitor)
    time.sleep(3.1)
    second = front.visit("strict", visitor, first.session)
    assert [seen(visit) for visit in (first, second)] == [ACCEPT] * 2
    assert not second.resumed
