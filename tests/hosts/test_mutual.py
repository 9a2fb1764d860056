"""The demo's mutual-TLS part: strict peers refuse, nginx -t says why, the repair satisfies all."""
import pytest

from tests.lab.lab import Lab
from tests.lab.mutual import Mutual, has_java


@pytest.fixture(scope="module")
def mutual():
    lab = Lab(scenarios=())
    try:
        mutual = Mutual(lab)
        with lab:
            try:
                mutual.start()
                yield mutual
            finally:
                mutual.stop()
    finally:
        lab.close()


def test_fault_and_repair(mutual):
    assert has_java(), "default-jdk-headless is missing"
    before = {name: ask() for name, ask in mutual.peers()}
    assert {name: seen.accepts for name, seen in before.items()} == {
        "curl -k": True, "strict-curl": False, "Java, strict": False}, before
    assert "reason=chain.incomplete" in before["strict-curl"].text
    assert "unable to find valid certification path" in before["Java, strict"].text

    line, = mutual.self_check()
    assert "reason=chain.incomplete" in line
    assert str(mutual.chain) in line

    mutual.repair()
    assert mutual.self_check() == []
    after = {name: ask() for name, ask in mutual.peers()}
    assert all(seen.accepts for seen in after.values()), (after, mutual.nginx.errors())
