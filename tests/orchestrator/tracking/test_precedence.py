"""Who comes first on the driver's machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestrator.tracking import precedence

TOP = "4:memory:/jobs/7\n2:cpuset:/\n1:cpu,cpuacct:/\n0::/\n"


@pytest.mark.parametrize(
    ("enabled", "groups", "is_container", "expected"),
    [
        ("1\n", TOP, False, True),
        ("1\n", TOP.replace("cpuacct:/", "cpuacct:/jobs/7"), False, False),
        ("1\n", "0::/\n", False, True),
        ("1\n", "0::/\n", True, False),  # it looks like the top, from within
        ("1\n", "0::/user.slice/session.scope\n", False, False),
        ("0\n", TOP, False, False),
        (None, TOP, False, False),  # no Linux, or one without
    ],
)
def test_sessions_share_processors_first_where_linux_says_so(
    tmp_path, enabled, groups, is_container, expected
):
    files = {"proc/self/cgroup": groups, "proc/sys/kernel/sched_autogroup_enabled": enabled}
    if is_container:
        files["sys/fs/cgroup/cgroup.events"] = "populated 1\n"
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    assert precedence._goes_by_session(tmp_path) is expected


def in_a_session(code: str) -> list[str]:
    """What a process that is a session of its own prints."""
    code = (
        f"import os\nfrom pathlib import Path\nfrom orchestrator.tracking import precedence\n{code}"
    )
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, text=True, start_new_session=True).split()


@pytest.mark.process
@pytest.mark.skipif(
    not precedence._goes_by_session(), reason="this Linux does not share processors by session"
)
def test_a_session_comes_last_and_then_as_others_again():
    show = "print(Path('/proc/self/autogroup').read_text().split()[-1], os.nice(0))\n"
    printed = in_a_session(
        f"precedence.come_last(os.getpid())\n{show}precedence.come_as_others()\n{show}"
    )
    own = str(os.nice(0))  # these tests may run at a niceness of their own
    assert printed == ["10", own, "0", own]


@pytest.mark.process
def test_elsewhere_a_process_comes_last_by_itself():
    code = "precedence._goes_by_session = lambda: False\nbefore = os.nice(0)\n"
    code += (
        "precedence.come_last(os.getpid())\nprecedence.come_as_others()\nprint(os.nice(0) - before)"
    )
    assert in_a_session(code) == [str(min(10, 19 - os.nice(0)))]  # 19 is the most there is
