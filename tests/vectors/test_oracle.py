"""The same vectors through others: whatever they accept or reject otherwise is explained."""
import pytest

from tests.vectors import oracle
from tests.vectors.conftest import BUILD
from tests.vectors.generate import cases


@pytest.fixture(scope="module")
def openssl(folder):
    return oracle.openssl_says(folder)


@pytest.fixture(scope="module")
def java(folder):
    return oracle.java_says(folder, BUILD / "oracle")


def check(name, said, least):
    assert len(said) >= least
    words = {says for says, _ in said.values()}
    assert words == {"accept", "reject"}
    found = oracle.disagreements(cases(), said)
    problems = oracle.compare(found, oracle.explained()[name])
    assert not problems, "\n".join(
        f"{problem} ({said[problem.split(':')[0]][1].strip()[-300:]})"
        if problem.split(":")[0] in said else problem for problem in problems)


def test_openssl(openssl):
    check("openssl", openssl, 200)


def test_java(java):
    check("java", java, 300)


def test_what_is_not_explained_is_noticed(openssl):
    found = oracle.disagreements(cases(), openssl)
    rows = dict(oracle.explained()["openssl"])
    name, (says, _) = rows.popitem()
    assert oracle.compare(found, rows) == [f"{name}: it says {says}, and nothing explains that"]


def test_what_is_explained_in_vain_is_noticed(openssl):
    found = oracle.disagreements(cases(), openssl)
    rows = {**oracle.explained()["openssl"], "crl-status-listed": ("accept", "it does not")}
    assert oracle.compare(found, rows) == [
        "crl-status-listed: explained as accept, but that is not what it says"]
    name = next(iter(found))
    rows = {**oracle.explained()["openssl"],
            name: ("accept" if found[name] == "reject" else "reject", "the wrong way round")}
    assert len(oracle.compare(found, rows)) == 1


def test_the_page_shows_the_table():
    """If not: python3 -m tests.vectors.oracle."""
    assert oracle.PAGE.read_text() == oracle.page_with(oracle.render())


def test_hardly_any_explanation_leaves_it_open():
    rows = [says for table in oracle.explained().values() for says, _ in table.values()]
    assert rows.count("either") <= 1 < len(rows)
