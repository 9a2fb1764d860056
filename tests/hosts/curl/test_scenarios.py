"""The scenario table through the library and through strict-curl, TLS 1.2 and 1.3."""
import pytest

from tests.hosts.curl.conftest import VERSIONS, policy_text
from tests.lab import net
from tests.lab.scenarios import BY_ID

PEER_FAILED_VERIFICATION = 60


def responder_url(lab):
    return f"http://{net.HOST}:{lab.responder.port}"


def check_report(scenario, report, lab):
    assert report is not None
    assert report["reason"] == (scenario.reason or "none"), report
    assert report["verdict"] == ("reject" if scenario.reason else "accept")
    if scenario.finding:
        assert scenario.finding in [finding["reason"] for finding in report["findings"]]
    if scenario.asked is not None:
        assert bool(lab.responder.count(lab.scenes[scenario.id].place)) == scenario.asked


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_library(id, version, lab, homes):
    scenario, scene = BY_ID[id], lab.scenes[id]
    curls = homes(f"library-{version}")
    (told,) = curls.library(
        *curls.handle(scene, host=scenario.name, version=version),
        "strict", "a", policy_text(scenario.policy, responder_url(lab)), "perform", "a")
    check_report(scenario, told["report"], lab)
    if scenario.reason:
        assert told["code"] == PEER_FAILED_VERIFICATION
        assert told["status"] == 0
        assert f"reason={scenario.reason} " in told["error"] and 'remedy="' in told["error"]
    else:
        assert (told["code"], told["status"]) == (0, scenario.backend_status), told


@pytest.mark.parametrize("insecure", [(), ("-k",)], ids=["plain", "insecure"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_strict_curl(id, version, insecure, lab, homes):
    scenario, scene = BY_ID[id], lab.scenes[id]
    curls = homes(f"command-{version}-{len(insecure)}")
    done, reports = curls.strict_curl(
        *curls.curl_words(scene, scenario.name, *VERSIONS[version], *insecure),
        policy=policy_text(scenario.policy, responder_url(lab)))
    assert len(reports) == 1, done.stderr
    check_report(scenario, reports[0], lab)
    if scenario.reason:
        assert done.returncode == PEER_FAILED_VERIFICATION, done.stderr
        assert done.stdout == "000"
        assert f"reason={scenario.reason} " in done.stderr and 'remedy="' in done.stderr
    else:
        assert (done.returncode, done.stdout) == (0, str(scenario.backend_status)), done.stderr
