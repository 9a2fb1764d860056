"""The scenario table through strict-tls check: reason, finding, exit code, the lenient client."""
import subprocess

import pytest

from tests.hosts.doctor.conftest import ACCEPT, LAB_POLICY, REJECT, policy_text
from tests.hosts.doctor.schema import errors
from tests.lab import net
from tests.lab.scenarios import BY_ID

VERSIONS = {"tls12": "1.2", "tls13": "1.3"}

# libcurl counts a weak key as weak before it looks at a certificate, and never reads one of this
# size; the doctor's lenient client looks at certificates only.
NOT_OF_THE_CHAIN = {"too_big", "too_big_allowed", "too_many"}


def run(doctor, lab, id, *args):
    scenario, scene = BY_ID[id], lab.scenes[id]
    url = f"http://{net.HOST}:{lab.responder.port}"
    policy = {key: value.format(url=url) for key, value in scenario.policy.items()}
    # The preset has to come first: it resets the other keys.
    preset = policy.pop("preset", None)
    extra = ["--preset", preset] if preset else []
    if scene.client:
        extra += ["--cert", scene.client, "--key", scene.client_key]
    return doctor.check(scene, *extra, *args, name=scenario.name, policy=policy)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("id", BY_ID)
def test_check(id, version, doctor, lab):
    scenario = BY_ID[id]
    before = lab.responder.count(lab.scenes[id].place)
    done = run(doctor, lab, id, "--tls", VERSIONS[version])
    diagnosis = done.json

    assert errors(diagnosis) == []
    assert diagnosis["reason"] == (scenario.reason or "none"), diagnosis
    assert diagnosis["strict"]["reason"] == diagnosis["reason"]
    assert diagnosis["connection"]["tls_version"] == f"TLSv{VERSIONS[version]}"
    if scenario.reason:
        assert diagnosis["strict"]["verdict"] == "reject"
        assert diagnosis["who"] and diagnosis["remedy"]
        assert done.code == REJECT
    else:
        assert diagnosis["strict"]["verdict"] == "accept"
        # An incomplete client chain is the engineer's own fault, and counts.
        assert done.code == (REJECT if id == "mutual_incomplete_client" else ACCEPT), diagnosis
    if scenario.finding:
        assert scenario.finding in [finding["reason"]
                                    for finding in diagnosis["strict"]["findings"]]
    if scenario.asked is not None:
        assert (lab.responder.count(lab.scenes[id].place) > before) == scenario.asked


@pytest.mark.parametrize("id", [id for id in BY_ID if id not in NOT_OF_THE_CHAIN])
def test_lenient_is_what_curl_does(id, doctor, lab):
    scenario, scene = BY_ID[id], lab.scenes[id]
    port = scene.backend.port
    curl = ["curl", "-sS", "-o", "/dev/null", "--cacert", scene.trust, "--capath", "/nonexistent",
            "--connect-to", f"::{net.HOST}:{port}", f"https://{scenario.name}:{port}/"]
    if scene.client:
        curl += ["--cert", scene.client, "--key", scene.client_key]
    done = subprocess.run(list(map(str, curl)), env={"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=30)
    lenient = run(doctor, lab, id, "--offline").json["lenient"]
    assert lenient["verdict"] == ("accept" if done.returncode == 0 else "reject"), done.stderr


@pytest.mark.parametrize("id", ["good", "leaf_only", "wrong_name", "revoked"])
def test_text_says_the_reason(id, doctor, lab):
    scenario, scene = BY_ID[id], lab.scenes[id]
    done = doctor("check", scene.backend.address, "--name", scenario.name, "--cafile", scene.trust,
                  "--policy", policy_text(**LAB_POLICY))
    assert done.code == (REJECT if scenario.reason else ACCEPT)
    assert "\x1b" not in done.out
    assert (scenario.reason or "accept") in done.out
    assert ("MISSING" in done.out) == (scenario.reason == "chain.incomplete")
