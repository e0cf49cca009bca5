"""Messages speak the language of whoever reads them."""

from __future__ import annotations

from orchestrator.errors import call, for_shell, option


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
