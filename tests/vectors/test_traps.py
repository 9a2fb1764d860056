"""docs/conformance.md names tests for every trap: they exist, and the core's are named after it."""
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "conformance.md"


def traps(text):
    """{trap: [test, ...]}"""
    rows = re.findall(r"^\| (\d+) \| .* \| ([^|]+) \|$", text.partition("## Traps")[2], re.M)
    return {int(number): re.findall(r"`([^`]+)`", tests) for number, tests in rows}


def exists(test):
    file, _, name = test.partition("::")
    path = TESTS / file
    wanted = (rf"cmocka_unit_test\({re.escape(name)}\)" if file.endswith(".c")
              else rf"^def {re.escape(name)}\(")
    return path.is_file() and re.search(wanted, path.read_text(), re.M) is not None


TRAPS = traps(PAGE.read_text())


def test_all_of_them_are_there():
    assert len(TRAPS) >= 33
    assert sorted(TRAPS) == list(range(1, len(TRAPS) + 1))


@pytest.mark.parametrize("trap", sorted(TRAPS))
def test_trap(trap):
    tests = TRAPS[trap]
    assert tests
    assert [test for test in tests if not exists(test)] == []
    named = [test for test in tests if f"::trap_{trap}_" in test and test.startswith("unit/")]
    # Sessions, pools, threads, renegotiation, files: into some only a host can step.
    assert bool(named) == any(test.startswith("unit/") for test in tests)


def test_one_that_is_missing_is_noticed():
    assert not exists("unit/crl_test.c::no_such_test")
    assert not exists("unit/no_such_test.c::trap_14_large_crls")
    assert not exists("hosts/nginx/test_crl.py::test_cr")
    assert traps("## Traps\n| 3 | x | `a::b`, `c::d` |\n") == {3: ["a::b", "c::d"]}
