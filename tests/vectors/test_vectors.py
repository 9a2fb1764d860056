"""The core gives every vector the verdict and the reason that the table says."""
import collections

import pytest

from tests.vectors.conftest import BUILD
from tests.vectors.generate import cases

CASES = cases()
FAMILIES = {"chain", "name", "policy", "ocsp", "staple", "fetch", "revocation", "crl", "host", "own"}


def results(text):
    return {line.split("\t")[0]: line.split("\t")[1:] for line in text.splitlines()}


@pytest.fixture(scope="module", params=["plain", "asan"])
def got(request, folder, run):
    program = {"plain": "vectors_run", "asan": "vectors_run_asan"}[request.param]
    return results(run(BUILD / program, folder))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vector(case, got):
    result, line = got[case.name]
    assert result == case.expect, line


# ---- the table itself ---------------------------------------------------------------

def uncovered(reasons, table):
    """The reasons that no case ends with."""
    return sorted(set(reasons) - {case.reason for case in table})


def lopsided(table):
    """The rules without an accepted or without a rejected case."""
    seen = collections.defaultdict(set)
    for case in table:
        seen[case.rule].add(case.accepts)
    return sorted(rule for rule, kinds in seen.items() if kinds != {True, False})


def test_every_reason_of_the_catalogue_is_reached(run):
    reasons = run(BUILD / "vectors_run", "--reasons").split()
    assert len(reasons) >= 45
    assert uncovered(reasons, CASES) == [], "give each of these a case in tests/vectors/vectors.tsv"


def test_a_new_reason_without_a_case_is_noticed(run):
    reasons = run(BUILD / "vectors_run", "--reasons").split()
    assert uncovered([*reasons, "chain.new"], CASES) == ["chain.new"]
    without = [case for case in CASES if case.expect != "crl.stale"]
    assert uncovered(reasons, without) == ["crl.stale"]


def test_every_rule_passes_and_fails():
    assert lopsided(CASES) == []
    assert lopsided([case for case in CASES if case.name != "name-trailing_dot-one"]) == [
        "name.trailing_dot"]


def test_the_table_is_large_and_each_case_has_its_own_name():
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.family for case in CASES} == FAMILIES


def test_every_case_was_run(got):
    assert set(got) == {case.name for case in CASES}
