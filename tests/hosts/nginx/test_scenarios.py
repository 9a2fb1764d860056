"""The scenario table through nginx: status, verdict, reason, finding and log line of every row."""
import json
import re
from contextlib import ExitStack

import pytest

from tests.lab import fronts, net
from tests.lab.nginx import MODULE, ROOT, Nginx
from tests.lab.scenarios import BY_ID, SCENARIOS
from tests.lab.uwsgi import UwsgiServer

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}

# Rows that a uwsgi backend is tried with; grpc_pass takes the whole table.
SOME = ["good", "leaf_only", "misordered", "untrusted_root", "expired", "wrong_name", "revoked",
        "wrong_certificate", "refused", "no_source"]


@pytest.fixture(scope="session")
def proxy(lab):
    front = fronts.scenario_front(
        lab, lab.folder / "proxy", strict=True, policy=PATIENT,
        versions=tuple((f"/{key}", protocol) for key, protocol in VERSIONS.items()))
    yield front
    front[0].stop()


@pytest.fixture(scope="session")
def grpc(lab):
    front = fronts.scenario_front(lab, lab.folder / "grpc", strict=True, policy=PATIENT,
                                  kind="grpc")
    yield front
    front[0].stop()


@pytest.fixture(scope="session")
def uwsgi(lab):
    with ExitStack() as stack:
        locations = []
        for id in SOME:
            scene = lab.scenes[id]
            server = stack.enter_context(UwsgiServer(scene.backend.chain, scene.backend.key))
            for key, protocol in VERSIONS.items():
                locations.append(fronts.location(
                    f"= /{key}/{id}", scene, strict=True, name=BY_ID[id].name, kind="uwsgi",
                    policy={**PATIENT, **BY_ID[id].policy}, protocols=protocol,
                    target=server.address))
        front = stack.enter_context(Nginx(lab.folder / "uwsgi", "uwsgi", module=MODULE))
        port = net.free_port()
        front.configure(fronts.http(fronts.server(port, locations)))
        yield front.start([port]), port


def check(scenario, front, path, version=None):
    """One request; everything that can be seen of its verdict agrees with the table."""
    nginx, port = front
    nginx.mark()
    answer = net.get(port, path)
    report = json.loads(answer.headers["x-strict-tls-report"])
    logged = nginx.verdicts()

    assert answer.headers["x-strict-tls-reason"] == (scenario.reason or "none"), report
    assert answer.status == scenario.strict, nginx.new_errors()
    if scenario.reason:
        assert answer.headers["x-strict-tls-verdict"] == "reject"
        assert [(line.word, line.level, line.reason) for line in logged] == [
            ("reject", "error", scenario.reason)]
        assert logged[0].fields["remedy"]
    else:
        assert answer.headers["x-strict-tls-verdict"] == "accept"
        assert logged == []
        if version and scenario.strict == 200:
            assert answer.headers["x-protocol"] == version
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in report["findings"]]
    return report


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_proxy_pass(id, version, lab, proxy):
    scenario = BY_ID[id]
    place = lab.scenes[id].place
    before = lab.responder.count(place)
    check(scenario, proxy, f"/{version}/{id}", VERSIONS[version])
    assert scenario.asked_as_told(before, lab.responder.count(place))


@pytest.mark.parametrize("id", BY_ID)
def test_grpc_pass(id, grpc):
    check(BY_ID[id], grpc, f"/{id}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", SOME)
def test_uwsgi_pass(id, version, lab, uwsgi):
    check(BY_ID[id], uwsgi, f"/{version}/{id}")


def test_the_table_covers_the_reasons():
    """Reasons that a peer can cause have a row; the others have tests of their own."""
    elsewhere = {
        "chain.malformed", "name.malformed",  # nginx and OpenSSL refuse to serve or want them
        "chain.key_mismatch", "chain.expiring", "chain.not_checkable",  # of our own: test_own.py
        "chain.too_costly",  # unit/work_test.c and the vectors: it takes many certificates
        "revocation.inconclusive", "session.unverified", "internal.memory", "internal.error",
    }
    header = (ROOT / "common/include/strict_tls/reasons.h").read_text()
    known = set(re.findall(r'^    X\(\w+, \d+, "([a-z_.]+)"', header, re.M))
    rows = {scenario.reason for scenario in SCENARIOS} - {None}
    assert rows <= known
    assert {reason for reason in known - rows if not reason.startswith("crl.")} == elsewhere
