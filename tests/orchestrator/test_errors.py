"""Messages speak the language of whoever reads them."""

from __future__ import annotations

import pytest

from orchestrator.errors import call, for_shell, nearest, option


def said() -> list[str]:
    return [
        option("checkpoint_every", 5),
        option("only", "split=pool seed=0"),
        option("home"),
        call("status --json", "trials()"),
    ]


def test_options_are_said_as_python_or_as_the_command_line_says_them():
    in_python = said()
    with for_shell():
        at_the_shell = said()
    assert in_python == [
        "checkpoint_every=5",
        "only='split=pool seed=0'",
        "home=...",
        "`session.trials()`",
    ]
    assert at_the_shell == [
        "--checkpoint-every 5",
        "--only 'split=pool seed=0'",
        "--home",
        "`spolia status --json`",
    ]
    assert said() == in_python


@pytest.mark.parametrize(
    ("name", "valid", "meant"),
    [
        ("B", ["a", "b"], "'b'"),
        ("TRESHOLD", ["epochs", "threshold"], "'threshold'"),
        ("Pol", ["POOL", "pool", "Pool"], "'Pool'"),
        (None, ["none"], "'none'"),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case(name, valid, meant):
    assert nearest(name, valid).startswith(f"Did you mean {meant}? Valid: ")


def test_what_is_no_name_is_near_to_none():
    assert nearest(5, ["a"]) == "Valid: 'a'."
