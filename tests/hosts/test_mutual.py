"""The demo's mutual-TLS part: strict peers refuse, nginx -t says why, the repair satisfies all."""
import pytest

from tests.lab.lab import Lab
from tests.lab.mutual import Story, has_java


@pytest.fixture(scope="module")
def told():
    """The story, and what was wrong with it."""
    assert has_java(), "default-jdk-headless is missing"
    lab = Lab(scenarios=())
    try:
        story = Story(lab)
        with lab:
            return story, story.tell()
    finally:
        lab.close()


def test_fault_and_repair(told):
    story, wrong = told
    assert wrong == ""
    assert [seen.status for seen in story.before] == [200, 60, 1]
    assert [seen.status for seen in story.after] == [200, 200, 200]


def test_what_each_side_sees(told):
    """Java says something about a path, nginx something about an alert: neither names the fault."""
    story, _ = told
    _, strict_curl, java = story.before
    assert "reason=chain.incomplete" in strict_curl.text
    assert "unable to find valid certification path" in java.text
    for seen in (strict_curl, java):
        assert "alert" in seen.server


def test_its_telling(told):
    story, wrong = told
    lines = "\n".join(story.lines(wrong))
    for text in ("reason=chain.incomplete", "nginx: [warn]", "strict Java", "added 'CN=Lab Issuing"):
        assert text in lines
    assert "NOT AS IT MUST BE: x." in story.lines("x")
