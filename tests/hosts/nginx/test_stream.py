"""The scenario table through stream's proxy_pass, and what a session shows of its verdict."""
import pytest

from tests.lab import stream_fronts
from tests.lab.scenarios import BY_ID

VERSIONS = {"tls12": "TLSv1.2", "tls13": "TLSv1.3"}

# A loaded machine must not turn a good responder into a silent one.
PATIENT = {"fetch_timeout_ms": "2000"}


@pytest.fixture(scope="module")
def front(lab):
    front = stream_fronts.scenario_front(
        lab, lab.folder / "stream", policy=PATIENT,
        versions=tuple((f"{key}-", protocol) for key, protocol in VERSIONS.items()))
    yield front
    front.stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_scenario(id, version, lab, front):
    scenario = BY_ID[id]
    front.mark()
    before = lab.responder.count(lab.scenes[id].place)
    answer = front.get(f"{version}-{id}")
    logged = front.verdicts()

    assert answer.reason == (scenario.reason or "none"), answer.report
    if scenario.reason:
        assert (answer.verdict, answer.status) == ("reject", None)
        assert [(line.word, line.level, line.reason) for line in logged] == [
            ("reject", "error", scenario.reason)]
        assert logged[0].fields["addr"] == lab.scenes[id].backend.address
        assert logged[0].fields["remedy"]
    else:
        assert (answer.verdict, answer.status) == ("accept", scenario.strict)
        assert logged == []
        if scenario.strict == 200:
            assert answer.headers["x-protocol"] == VERSIONS[version]
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in answer.report["findings"]]
    assert scenario.asked_as_told(before, lab.responder.count(lab.scenes[id].place))
