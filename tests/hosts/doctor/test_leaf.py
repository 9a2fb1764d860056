"""Which certificate is the leaf: files and endpoints that do not have it first."""
import pytest

from tests.hosts.doctor.conftest import ACCEPT, REJECT, UNKNOWN, USAGE, policy_text
from tests.lab.scenarios import NAME
from tests.lab.tls_server import TlsServer

LEAF = "leaf_good"
WHOLE = ["leaf_good", "issuing", "intermediate"]


def run(doctor, lab, command, labels, *args):
    return doctor(command, lab.bundle("leaf_test", labels), "--cafile",
                  lab.pki["root"].cert_path, *args)


def problems(done):
    return [problem["id"] for problem in done.json["problems"] if problem["severity"] == "error"]


@pytest.mark.parametrize("labels", [
    ["issuing", "leaf_good"],
    ["issuing", "intermediate", "leaf_good"],
    ["intermediate", "issuing", "leaf_good"],
    ["root", "leaf_good"],
    ["root", "intermediate", "issuing", "leaf_good"],
    ["root", "leaf_good_direct"],
])
def test_a_ca_first(labels, doctor, lab):
    done = run(doctor, lab, "file", labels, "--json")
    assert done.code == REJECT
    assert "leaf.not_first" in problems(done)
    leaf, = (label for label in labels if label.startswith("leaf"))
    assert done.json["chain"][0]["subject"].startswith(f"CN={leaf},")
    # fix prints the leaf's chain, which file and any strict client take.
    fixed = run(doctor, lab, "fix", labels, "--policy", policy_text())
    assert fixed.code == ACCEPT, fixed.err
    again = doctor.folder / "fixed.pem"
    again.write_text(fixed.out)
    done = doctor("file", again, "--name", NAME, "--cafile", lab.pki["root"].cert_path, "--json")
    assert (done.code, problems(done)) == (ACCEPT, [])


@pytest.mark.parametrize("labels", [WHOLE, ["leaf_good"], ["issuing"], ["root"],
                                    ["issuing", "intermediate"],
                                    ["leaf_good", "leaf_good_short", "issuing", "intermediate"]])
def test_the_first_is_the_leaf(labels, doctor, lab):
    """Also a CA's own certificate, where no leaf stands behind it."""
    done = run(doctor, lab, "file", labels, "--json")
    assert not {"leaf.not_first", "leaf.unclear"} & set(problems(done))


def test_several_could_be(doctor, lab):
    labels = ["intermediate", "leaf_good_short", "issuing", "leaf_good"]
    done = run(doctor, lab, "file", labels, "--json")
    assert (done.code, problems(done)[-1]) in ((UNKNOWN, "leaf.unclear"), (REJECT, "leaf.unclear"))
    fixed = run(doctor, lab, "fix", labels)
    assert (fixed.code, fixed.out) == (USAGE, "") and "--key" in fixed.err
    for leaf in ("leaf_good_short", "leaf_good"):
        key = lab.pki[leaf].key_path
        fixed = run(doctor, lab, "fix", labels, "--key", key, "--policy", policy_text())
        assert fixed.code == ACCEPT, fixed.err
        assert fixed.out.startswith(lab.pki[leaf].cert_path.read_text().strip()[:200])
        done = run(doctor, lab, "file", labels, "--key", key, "--json")
        assert (done.code, problems(done)) == (REJECT, ["leaf.not_first"])
        assert done.json["key_matches"] is False


def test_an_endpoint(doctor, lab):
    """A server that presents its CA first and owns that key."""
    chain = lab.bundle("leaf_test", ["issuing", "leaf_good", "intermediate"])
    with TlsServer(chain, lab.pki["issuing"].key_path) as server:
        done = doctor("check", server.address, "--name", NAME, "--cafile",
                      lab.pki["root"].cert_path, "--policy", policy_text(), "--json")
        assert done.code == REJECT and "leaf.not_first" in problems(done)
        fixed = doctor("fix", server.address, "--name", NAME, "--cafile",
                       lab.pki["root"].cert_path, "--policy", policy_text())
    assert fixed.code == ACCEPT, fixed.err
    assert fixed.out.startswith(lab.pki[LEAF].cert_path.read_text().strip()[:200])
