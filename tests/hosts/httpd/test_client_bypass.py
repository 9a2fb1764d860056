"""No client gets past the verdict: by resumption, across virtual hosts, by authenticating late."""
import itertools
import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.hosts.httpd.conftest import Door
from tests.lab import crl, net
from tests.lab.lab import Lab
from tests.lab.tls_client import VERSIONS, Answer, get_http2
from tests.lab.verdicts import ACCEPT, verdict

_numbers = itertools.count()


def visitor(door, serve="leaf issuing intermediate", issuer="issuing", **fields):
    return door.lab.visitor(f"v{next(_numbers)}", issuer, serve, **fields)

# How a session is kept: the client's options, and the virtual hosts' ending.
KEPT = {
    "tls12 ticket": ({"version": "tls12"}, ""),
    "tls12 session id": ({"version": "tls12", "tickets": False}, ""),
    "tls13 ticket": ({"version": "tls13"}, ""),
    "tls13 session cache": ({"version": "tls13"}, "-cached"),
}
# What mod_ssl itself thinks of a Host that is not the handshake's; ours must not depend on it.
SNI_POLICIES = {"default": "", "insecure": "SSLVHostSNIPolicy insecure\n"}

NAME = "{}.inbound.lab.test".format
PRIVATE = ('<Location "/private">\nSSLVerifyClient {}\nSSLVerifyDepth 9\n</Location>\n').format
SHORT = {"fetch_timeout_ms": "400"}


def vhosts(door):
    """Those of most tests here; each twice, once with its sessions in the cache only."""
    pki, bundle = door.lab.pki, door.lab.bundle
    lax = bundle("trust", ["root", "stranger", "stranger_issuing", "intermediate", "issuing"])
    other = pki["stranger"].cert_path
    for ending, extra in (("", ""), ("-cached", "SSLSessionTickets off\n")):
        def vhost(name, *args, **options):
            more = options.pop("extra", "")
            return door.vhost(name + ending, *args, extra=extra + more, **options)

        yield from (
            vhost("none", lax, strict=False, verify=None, depth=None),
            vhost("plain"),
            vhost("brief", policy={"verdict_max_age_s": "8"}),
            vhost("fresh", policy={"ocsp_nonce": "on"}),
            vhost("optional", verify="optional"),
            # what a client may have been to before
            vhost("lax", lax, strict=False, verify="optional_no_ca"),
            vhost("off", lax, strict="off"),
            vhost("other_ca", other),
            vhost("other_policy", other, policy={"revocation": "off"}),
            vhost("report", strict="report", policy=SHORT),
            vhost("soft", policy={"revocation": "soft", **SHORT}),
            vhost("soft_too", policy={"revocation": "soft", **SHORT}),
            vhost("hard", policy=SHORT),
            vhost("crls", policy={"crl_file": str(door.crl_file.path),
                                  "revocation_sources": "file"}),
            # where a certificate is asked for later
            vhost("late_require", verify=None, extra=PRIVATE("require")),
            vhost("late_optional", verify=None, extra=PRIVATE("optional")),
            vhost("late_lax", lax, strict=False, verify=None, depth=None),
            vhost("late_strict", lax, verify=None, depth=None, extra=PRIVATE("require")),
        )


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """One lab, an httpd for each of the SNI policies."""
    with Lab(scenarios=()) as lab, ExitStack() as stack:
        made = {}
        for sni, lines in SNI_POLICIES.items():
            door = Door(lab)
            folder = stack.enter_context(crl.readable_folder())
            door.crl_file = crl.CrlFile(lab, folder / "crls.pem")
            door.start(stack, tmp_path_factory.mktemp(sni), *vhosts(door), main=lines, processes=1)
            made[sni] = door
        yield made


@pytest.fixture
def house(houses):
    door = houses["insecure"]
    door.front.mark()
    yield door
    assert door.front.alive() and "exit signal" not in door.front.new_errors()


def session_of(client, door, name):
    """A session from a connection that served a request."""
    with client.connect(door.port, NAME(name)) as connection:
        answer = connection.get()
        assert answer.status == 200, answer
        return connection.session


def again(client, door, name, session):
    """(answer, whether the session was resumed)"""
    try:
        with client.connect(door.port, NAME(name), session) as connection:
            return connection.get(), connection.reused
    except OSError as failure:
        return Answer(error=str(failure)), False


# ---- resumption ------------------------------------------------------------------------


@pytest.mark.parametrize("kept", KEPT)
def test_resumed_while_the_verdict_stands(kept, house):
    good = visitor(house)
    options, ending = KEPT[kept]
    client = house.client(good, **options)
    session = session_of(client, house, "plain" + ending)
    for _ in range(2):
        answer, reused = again(client, house, "plain" + ending, session)
        assert reused
        assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
        assert answer.headers["x-client"].startswith(f"CN={good.place},")
    assert house.lab.responder.count(good.place) == 1
    assert house.front.verdicts() == []


@pytest.mark.parametrize("kept", KEPT)
def test_not_resumed_when_the_verdict_is_over(kept, house):
    """Renewed tickets do not carry it any further."""
    options, ending = KEPT[kept]
    client = house.client(visitor(house), **options)
    session, started, reused = session_of(client, house, "brief" + ending), time.monotonic(), True
    while reused and time.monotonic() - started < 30:
        with client.connect(house.port, NAME("brief" + ending), session) as connection:
            assert connection.get().status == 200
            reused, session = connection.reused, connection.session
        time.sleep(0.3)
    assert not reused
    assert house.front.verdicts() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_connection_outlives_its_verdict(version, house):
    """Without the chain nothing can be judged anew: the client is sent to another connection."""
    client = house.client(visitor(house), version=version)
    session = session_of(client, house, "brief")
    with client.connect(house.port, NAME("brief"), session) as connection:
        assert connection.reused and connection.get().status == 200
        found = net.wait_until(lambda: (answer := connection.get()).status != 200 and answer,
                               "the verdict's end", step_s=0.5)
        assert (found.status, *verdict(found)) == (421, "reject", "session.unverified")
        assert found.headers["connection"] == "close"
    assert [line.reason for line in house.front.verdicts()] == ["session.unverified"]
    with client.connect(house.port, NAME("brief"), session) as connection:
        assert not connection.reused and connection.get().status == 200


@pytest.mark.parametrize("kept", KEPT)
def test_not_resumed_when_revoked_meanwhile(kept, house):
    """Another question learns of it; the session leads to a full handshake and a no."""
    good = visitor(house)
    options, ending = KEPT[kept]
    client = house.client(good, **options)
    session = session_of(client, house, "plain" + ending)
    house.lab.responder.place(good.place, "revoked")
    assert house.get(good, "fresh").status is None
    house.front.mark()
    answer, reused = again(client, house, "plain" + ending, session)
    assert not reused and not answer.status
    assert [line.reason for line in house.front.verdicts()] == ["ocsp.revoked"]


@pytest.mark.parametrize("kept", KEPT)
def test_not_resumed_where_answers_must_be_fresh(kept, house):
    """With ocsp_nonce no verdict is remembered that a session could rest on."""
    good = visitor(house)
    options, ending = KEPT[kept]
    client, name = house.client(good, **options), "fresh" + ending
    answer, reused = again(client, house, name, session_of(client, house, name))
    assert not reused
    assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
    assert house.lab.responder.count(good.place) == 2


@pytest.mark.parametrize("kept", KEPT)
def test_crl_file_changes(kept, house):
    """Neither a session nor a kept connection outlives a revocation in the administrator's file."""
    good = visitor(house)
    options, ending = KEPT[kept]
    client = house.client(good, **options)
    house.crl_file.write()
    session = session_of(client, house, "crls" + ending)
    answer, reused = again(client, house, "crls" + ending, session)
    assert reused and (answer.status, *verdict(answer)) == (200, *ACCEPT)
    with client.connect(house.port, NAME("crls" + ending)) as connection:
        assert connection.get().status == 200
        house.crl_file.write(next_update_s=7200)  # another content that says the same
        for _ in range(5):
            assert connection.get().status == 200
            time.sleep(0.4)
        house.crl_file.write(good.leaf)
        found = net.wait_until(lambda: (got := connection.get()).status != 200 and got,
                               "the revocation", step_s=0.3)
        assert (found.status, *verdict(found)) == (403, "reject", "crl.revoked")
    answer, reused = again(client, house, "crls" + ending, session)
    assert not reused and not answer.status
    assert {line.reason for line in house.front.verdicts()} == {"crl.revoked"}


@pytest.mark.parametrize("kept", KEPT)
def test_no_session_from_a_refusal(kept, house):
    options, ending = KEPT[kept]
    client = house.client(visitor(house, "leaf"), **options)
    for _ in range(2):
        try:
            with client.connect(house.port, NAME("plain" + ending)) as connection:
                assert connection.get().status is None
                assert connection.session is None or not connection.session.has_ticket
        except OSError:
            pass  # in TLS 1.2 already the handshake fails
    assert [line.reason for line in house.front.verdicts()] == ["chain.incomplete"] * 2


@pytest.mark.parametrize("kept", KEPT)
def test_optional_without_a_certificate_is_resumed(kept, house):
    options, ending = KEPT[kept]
    client, name = house.client(None, **options), "optional" + ending
    answer, reused = again(client, house, name, session_of(client, house, name))
    assert reused
    assert (answer.status, answer.headers["x-verify"]) == (200, "NONE")


@pytest.mark.parametrize("version", VERSIONS)
def test_session_from_before_it_was_strict(version, door):
    """Tickets outlive a restart where their key is given."""
    gap = visitor(door, "leaf")
    bundle = door.lab.bundle("trust", ["root", "intermediate", "issuing"])
    keys = door.lab.folder / "ticket.keys"
    keys.write_bytes(bytes(range(48)))
    same = f"SSLSessionTicketKeyFile {keys}\n"
    front = door.open(door.vhost("a", bundle, strict="off", extra=same))
    client = door.client(gap, version=version)
    session = session_of(client, door, "a")
    answer, reused = again(client, door, "a", session)
    assert reused and answer.status == 200  # the control
    front.rewrite(door.vhost("a", bundle, extra=same))
    front.stop()
    front.start([door.port])
    front.mark()
    answer, reused = again(client, door, "a", session)
    assert not reused and not answer.status
    assert [line.reason for line in front.verdicts()] == ["chain.incomplete"]


# ---- across virtual hosts ------------------------------------------------------------------


@pytest.mark.parametrize("sni", SNI_POLICIES)
@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("first", ["lax", "off", "other_ca", "other_policy"])
def test_session_crosses_virtual_hosts(first, kept, sni, houses):
    """CVE-2025-23048, CVE-2025-23419: a session made at one is offered to another."""
    door = houses[sni]
    options, ending = KEPT[kept]
    serve, reason = {
        "lax": ("leaf", "chain.incomplete"), "off": ("leaf", "chain.incomplete"),
    }.get(first, ("leaf stranger_issuing", "chain.untrusted"))
    client = door.client(visitor(door, serve, "stranger_issuing"), **options)
    session = session_of(client, door, first + ending)
    _, reused = again(client, door, first + ending, session)
    assert reused  # the control
    door.front.mark()
    answer, reused = again(client, door, "plain" + ending, session)
    assert not reused and not answer.status
    assert [line.reason for line in door.front.verdicts()] == [reason]


@pytest.mark.parametrize("sni", SNI_POLICIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_host_of_another_virtual_host(version, sni, houses):
    """A connection made for one of them serves requests for those that demand the same."""
    door = houses[sni]
    client = door.client(visitor(door, ocsp="silent"), version=version)
    for host, status in (("soft_too", 200), ("hard", 421), ("HARD", 421), ("other_ca", 421)):
        with client.connect(door.port, NAME("soft")) as connection:
            assert connection.get().status == 200
            door.front.mark()
            answer = connection.get(host=NAME(host))
            assert (answer.status, host) == (status, host)
            assert bool(verdict(answer)[0]) == (status == 200)
            assert ("demands something else" in door.front.new_errors()) == (
                status == 421 and sni == "insecure") or sni == "default"


@pytest.mark.parametrize("sni", SNI_POLICIES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made_for", ["none", "lax", "report", None])
def test_connection_that_was_not_judged(made_for, version, sni, houses):
    """Without SNI it is the first virtual host's, which has nothing to do with the second's."""
    door = houses[sni]
    client = door.client(visitor(door, ocsp="silent"), version=version)
    with client.connect(door.port, made_for and NAME(made_for)) as connection:
        assert connection.get(host=NAME(made_for or "none")).status == 200
        answer = connection.get(host=NAME("hard"))
        assert answer.status in (403, 421) and verdict(answer)[0] != "accept"


@pytest.mark.parametrize("sni", SNI_POLICIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_host_of_another_virtual_host_http2(version, sni, houses):
    door = houses[sni]
    soft = visitor(door, ocsp="silent")
    hosts = (None, NAME("hard"), NAME("soft_too"), NAME("other_ca"), None)
    answers = get_http2(door.port, NAME("soft"), soft.chain, soft.key, version=version,
                        hosts=hosts)
    assert [answer.status for answer in answers] == [200, 421, 200, 421, 200]


# ---- certificates that come late -------------------------------------------------------------


@pytest.mark.parametrize("verify", ["require", "optional"])
@pytest.mark.parametrize("version", VERSIONS)
def test_asked_for_later(version, verify, house):
    """By renegotiation in TLS 1.2, by post-handshake authentication in TLS 1.3."""
    who = {"none": visitor(house), "chain.incomplete": visitor(house, "leaf"),
           "ocsp.revoked": visitor(house, ocsp="revoked")}
    for reason, one in who.items():
        client = house.client(one, version=version, post_handshake=True)
        with client.connect(house.port, NAME(f"late_{verify}")) as connection:
            assert connection.get().status == 200
            house.front.mark()
            answer = connection.get("/private")
            if reason == "none":
                assert (answer.status, *verdict(answer)) == (200, *ACCEPT)
                assert answer.headers["x-client"].startswith(f"CN={one.place},")
                assert verdict(connection.get()) == ACCEPT
            else:
                assert answer.status in (None, 403), answer
                assert [line.reason for line in house.front.verdicts()] == [reason]
                assert connection.get("/private").status != 200
                assert connection.get().status != 200


@pytest.mark.parametrize("version", VERSIONS)
def test_asked_for_later_and_resumed(version, house):
    """A session of such a connection is worth what it was judged to be."""
    good = visitor(house)
    client = house.client(good, version=version, post_handshake=True)
    with client.connect(house.port, NAME("late_require")) as connection:
        assert connection.get("/private").status == 200
        session = connection.session
    answer, _ = again(client, house, "late_require", session)
    assert answer.status == 200
    assert verdict(answer) in [ACCEPT, (None, None), ("", "")]
    house.lab.responder.place(good.place, "revoked")
    assert house.get(good, "fresh").status is None
    answer, reused = again(client, house, "late_require", session)
    assert answer.status == 200 and not verdict(answer)[0]
    assert not answer.headers["x-client"].startswith("CN=")


@pytest.mark.parametrize("version", VERSIONS)
def test_asked_for_later_by_another_virtual_host(version, house):
    """Access control of the second asks on the first's connection: that is no judgement of ours."""
    client = house.client(visitor(house, "leaf"), version=version, post_handshake=True)
    with client.connect(house.port, NAME("late_lax")) as connection:
        assert connection.get().status == 200
        assert connection.get("/private", host=NAME("late_strict")).status == 421


@pytest.mark.parametrize("whole", [True, False])
def test_http2_is_not_asked_later(whole, house):
    """mod_ssl wants HTTP/1.1 for that, to which curl goes over."""
    one = visitor(house, *([] if whole else ["leaf"]))
    name = NAME("late_require")
    said = subprocess.run(
        ["curl", "-sS", "-k", "--http2", "--cert", one.chain, "--key", one.key, "--resolve",
         f"{name}:{house.port}:{net.HOST}", "-o", "/dev/null", "-w", "%{http_code} %{http_version}",
         f"https://{name}:{house.port}/private"], capture_output=True, text=True, timeout=60)
    if whole:
        assert said.stdout == "200 1.1"
    else:
        assert not said.stdout.startswith("200")
        assert [line.reason for line in house.front.verdicts()] == ["chain.incomplete"]


# ---- what else comes in at the port --------------------------------------------------------------


def test_plain_http_at_the_tls_port(house):
    """mod_ssl ends TLS and answers 400."""
    for _ in range(3):
        assert net.get(house.port, headers={"Host": NAME("plain")}).status == 400
