"""The scenario table through httpd: status, verdict, reason, finding and log line of every row."""
import json

import pytest

from tests.lab import httpd_fronts, net
from tests.lab.scenarios import BY_ID

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="session")
def proxy(lab):
    front, ports = httpd_fronts.scenario_front(
        lab, lab.folder / "httpd", strict=True, policy=PATIENT, versions=tuple(VERSIONS.values()))
    yield front, dict(zip(VERSIONS, ports))
    front.stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_proxy_pass(id, version, lab, proxy):
    """One request; everything that can be seen of its verdict agrees with the table."""
    scenario = BY_ID[id]
    front, ports = proxy
    front.mark()
    before = lab.responder.count(lab.scenes[id].place)
    answer = net.get(ports[version], f"/{id}")
    report = json.loads(answer.headers["x-strict-tls-report"])
    logged = front.verdicts()

    assert answer.headers["x-strict-tls-reason"] == (scenario.reason or "none"), report
    assert answer.status == scenario.strict, front.new_errors()
    if scenario.reason:
        assert answer.headers["x-strict-tls-verdict"] == "reject"
        assert [(line.word, line.level, line.reason) for line in logged] == [
            ("reject", "error", scenario.reason)]
        assert logged[0].fields["remedy"]
    else:
        assert answer.headers["x-strict-tls-verdict"] == "accept"
        assert logged == []
        if scenario.strict == 200:
            assert answer.headers["x-protocol"] == VERSIONS[version]
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in report["findings"]]
    assert scenario.asked_as_told(before, lab.responder.count(lab.scenes[id].place))
