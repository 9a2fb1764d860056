"""What every host's tests share: one lab for the whole run."""
import os
import sys

import pytest

# The lab is imported as tests.lab, wherever pytest was started.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.lab.lab import Lab  # noqa: E402


@pytest.fixture(scope="session")
def lab():
    """Every scenario's certificates, responders and backends."""
    with Lab() as built:
        yield built
