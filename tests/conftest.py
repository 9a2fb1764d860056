"""What every host's tests share: one lab for the whole run."""
import os
import sys

import pytest

# The lab is imported as tests.lab, wherever pytest was started.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.lab.inbound import INBOUND  # noqa: E402
from tests.lab.lab import Lab  # noqa: E402


@pytest.fixture(scope="session")
def lab():
    """Every scenario's certificates, responders and backends."""
    with Lab() as built:
        yield built


@pytest.fixture(scope="session")
def inbound_lab():
    """Every client of the inbound table, and the responders that know them."""
    with Lab(scenarios=(), inbound=INBOUND) as built:
        yield built
