"""The scenario table the other way round: what clients present to a server that demands it.

Every row is one of scenarios.py with a leaf for clients, or is left out for the
reason given here, or has no counterpart there.  Reasons are the same.
"""
from dataclasses import replace

from .scenarios import CHAIN, DATES, MUTUAL, NAMES, REVOCATION, SCENARIOS, STAPLES, row

# id -> why no client is tried with it
LEFT_OUT = {
    **{scenario.id: "a client is asked for no name" for scenario in NAMES},
    **{scenario.id: "a client staples nothing" for scenario in SCENARIOS if scenario.staple},
    **{scenario.id: "must-staple binds servers only: see must_staple_client"
       for scenario in STAPLES if not scenario.staple},
    **{scenario.id: "this table is the other half of it" for scenario in MUTUAL},
    "client_purpose": "right for a client: see server_purpose",
}


def _turned(scenario):
    return replace(scenario, leaf={"usages": ("client",), **scenario.leaf})


OWN = [_turned(scenario) for scenario in [
    row("server_purpose", "certificate for servers only", "chain.purpose",
        leaf={"usages": ("server",)}),
    row("server_purpose_any", "certificate for servers only, purpose any",
        leaf={"usages": ("server",)}, policy={"purpose": "any"}),
    row("no_name", "certificate without any name of a host", leaf={"sans": ()}),
    row("must_staple_client", "must-staple leaf", leaf={"must_staple": True}),
]]

INBOUND = [_turned(scenario) for scenario in CHAIN + DATES + REVOCATION
           if scenario.id not in LEFT_OUT] + OWN
# OpenSSL puts the leaf into its tickets, and ends the handshake where that is 64 KiB long:
# servers of these rows go without tickets.
NO_TICKETS = {"too_big", "too_big_allowed"}

INBOUND_BY_ID = {scenario.id: scenario for scenario in INBOUND}

assert len(INBOUND_BY_ID) == len(INBOUND)
assert not INBOUND_BY_ID.keys() & LEFT_OUT.keys()
assert {row.id for row in SCENARIOS} == (INBOUND_BY_ID.keys() | LEFT_OUT.keys()) - {
    row.id for row in OWN}


def server_name(id):
    """The virtual host that demands what this row demands."""
    return f"{id.replace('_', '-')}.inbound.lab.test"
