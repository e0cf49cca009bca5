"""ray_cluster.yaml against the programs that will read it: Ray, MLflow, pip, bash and our own."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points, metadata
from pathlib import Path, PurePosixPath

import click
import pytest
import yaml

from methods.fine_tune import FineTune
from orchestrator import Trial
from orchestrator.executors.placement import Nodes, place
from orchestrator.executors.site import Site

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ray_cluster.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)
HOME = f"/home/{CONFIG['auth']['ssh_user']}"
LISTS = (
    "setup_commands",
    "initialization_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
LINES = [line for name in LISTS for line in CONFIG.get(name, ())]
SEPARATORS = {"&&", "||", ";", "|", "&"}
RUNNERS = {"nohup", "sudo", "systemd-run"}  # of the program behind them
REDIRECTIONS = {">", ">>", ">&"}


def words_of(line):
    """The simple commands of a line of shell, each as its words, without redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands, skip = [[]], False
    for word in lexer:
        if word in SEPARATORS:
            commands.append([])
        elif word in REDIRECTIONS:
            skip = True  # the file behind it
            if commands[-1] and commands[-1][-1].isdigit():
                commands[-1].pop()  # the stream before it
        elif skip:
            skip = False
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def calls(name, line=None):
    """How a program is called, in all lines or in one: (variables set for it, arguments)."""
    found = []
    for command in (c for one in ([line] if line else LINES) for c in words_of(one)):
        rest = list(command)
        is_run_by_systemd = "systemd-run" in rest
        while rest and (rest[0] in RUNNERS or (is_run_by_systemd and rest[0].startswith("--"))):
            rest.pop(0)  # and the options of whoever runs it
        variables = {}
        while rest and re.fullmatch(r"[A-Z_]+=.*", rest[0]):
            key, _, value = rest.pop(0).partition("=")
            variables[key] = value
        if rest and PurePosixPath(rest[0]).name == name:
            found.append((variables, rest[1:]))
    return found


def parsed(group, arguments):
    """The options of a command as its own program reads them; fails where it knows one not."""
    name, *rest = arguments
    command = group.commands[name]
    with command.make_context(name, list(rest), parent=click.Context(group)) as context:
        return context.params


@pytest.fixture(scope="module")
def ray_command():
    return pytest.importorskip("ray.scripts.scripts", reason="Ray moved its command line").cli


@pytest.fixture(scope="module")
def mlflow_command():
    return pytest.importorskip("mlflow.cli", reason="MLflow moved its command line").cli


def ray_schema():
    import ray.autoscaler

    return json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


def test_it_fits_rays_schema():
    import jsonschema

    jsonschema.validate(CONFIG, ray_schema())


def test_ray_itself_accepts_it(monkeypatch):
    util = pytest.importorskip("ray.autoscaler._private.util", reason="Ray moved its checks")
    pytest.importorskip("boto3", reason="Ray's AWS provider needs boto3")
    monkeypatch.chdir(ROOT)
    prepared = util.prepare_config(copy.deepcopy(CONFIG))
    util.validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["min_workers"] == 0


def test_a_key_that_ray_does_not_know_would_be_noticed():
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**CONFIG, "initial_workers": 3}, ray_schema())


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:40])
def test_bash_can_read_every_command(line):
    ran = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_ray_is_started_with_options_that_it_has(ray_command):
    assert [parsed(ray_command, a) for _, a in calls("ray") if a[0] == "stop"]
    head, worker = (parsed(ray_command, a) for _, a in calls("ray") if a[0] == "start")
    assert head["head"]
    assert not worker["head"]
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"  # where the head listens


def test_an_option_that_a_program_lacks_would_be_noticed(ray_command, mlflow_command):
    for group, arguments in (
        (ray_command, ["start", "--haed"]),
        (mlflow_command, ["server", "--allowed-host", "x"]),
    ):
        with pytest.raises(click.NoSuchOption):
            parsed(group, arguments)


def test_the_address_of_the_head_is_what_ray_hands_to_workers():
    util = pytest.importorskip("ray.autoscaler._private.util", reason="Ray moved its checks")
    (command,) = util.with_head_node_ip(["ray start --address=$RAY_HEAD_IP:1"], "10.9.8.7")
    assert "RAY_HEAD_IP=10.9.8.7" in command


def test_the_head_scales_by_the_file_that_ray_leaves_there():
    """Compared with Ray's own example of an AWS cluster."""
    import ray.autoscaler

    file = Path(ray.autoscaler.__file__).parent / "aws/defaults.yaml"
    example = yaml.safe_load(file.read_text())
    option = r"--autoscaling-config=([\w~/.]+)"
    (theirs,) = re.findall(option, str(example["head_start_ray_commands"]))
    (ours,) = re.findall(option, str(CONFIG["head_start_ray_commands"]))
    assert ours == theirs.replace("~", HOME)


def test_the_tracking_server_has_its_options_and_is_reached_by_its_name(mlflow_command):
    ((_, arguments),) = calls("mlflow")
    options = parsed(mlflow_command, arguments)
    hosts = options["allowed_hosts"].split(",")
    assert {"localhost:*", "127.0.0.1:*", "HEAD_NAME:*"} == set(hosts)
    guide = (ROOT / "docs/running-on-a-cluster.md").read_text()
    assert f'tracking = "http://HEAD_NAME:{options["port"]}"' in guide
    assert options["artifacts_destination"].startswith("s3://REPLACE/")


def test_the_tracking_server_is_started_again_and_there_is_one():
    commands = CONFIG["head_start_ray_commands"]
    (start,) = (one for one in commands if "mlflow server" in one)
    (stop,) = (one for one in commands if "systemctl stop" in one)
    (unit,) = re.findall(r"--unit=(\S+)", start)
    assert "--property=Restart=always" in start.split()
    # Before a second `ray up` starts it: a unit of the name would still be there.
    assert stop == f"sudo systemctl stop {unit} || true"
    assert commands.index(stop) < commands.index(start)


def test_the_commands_of_its_comments_exist(ray_command):
    import typer

    from orchestrator.cli import app

    ours = typer.main.get_command(app)
    comments = [line.lstrip("# ") for line in TEXT.splitlines() if line.startswith("#")]
    shown = [line.partition(" # ")[0] for line in comments if line.startswith(("ray ", "spolia "))]
    assert len(shown) == 2
    for line in shown:
        (command,) = words_of(line)
        options = parsed(ray_command, command[1:])
        assert (ROOT / options["cluster_config_file"]).is_file()
        for inner in words_of(options.get("cmd") or ""):
            assert inner[0] == "spolia"
            assert parsed(ours, inner[1:])["address"] == "auto"


def test_what_is_called_in_the_environment_is_installed_there():
    (environment,) = (a[-1] for _, a in calls("python3") if a[:2] == ["-m", "venv"])
    programs = re.findall(rf"{environment}/bin/(\w+)", "\n".join(LINES))
    assert set(programs) == {"pip", "ray", "mlflow"}
    offered = {e.name for e in entry_points(group="console_scripts")}
    assert set(programs) <= offered


def test_every_node_installs_the_pinned_set_from_the_checkout_that_is_copied_there():
    ((_, arguments),) = calls("pip")
    help_text = subprocess.run(
        [sys.executable, "-m", "pip", arguments[0], "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(a in help_text for a in arguments if a.startswith("-"))
    copied = {there: ROOT / here for there, here in CONFIG["file_mounts"].items() if here == "."}
    ((checkout, source),) = copied.items()
    constraints = arguments[arguments.index("--constraint") + 1]
    assert (source / PurePosixPath(constraints).relative_to(checkout)).is_file()
    project = arguments[arguments.index("--editable") + 1]
    assert (source / PurePosixPath(project).relative_to(checkout) / "pyproject.toml").is_file()
    (extra,) = re.findall(r"^ray\[(\w+)\]$", "\n".join(arguments), re.MULTILINE)
    assert extra in metadata("ray").get_all("Provides-Extra")


def test_what_the_checkout_does_not_need_is_not_copied():
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    excluded = {pattern.removeprefix("**/") for pattern in CONFIG["rsync_exclude"]}
    assert excluded <= ignored | {".git"}
    assert {".git", ".venv", "spolia-home"} <= excluded


def test_every_ray_asks_for_the_token_that_is_copied_to_it():
    setup = pytest.importorskip(
        "ray._private.authentication.authentication_token_setup", reason="Ray moved its tokens"
    )
    starts = [variables for variables, a in calls("ray") if a[0] == "start"]
    assert [v.get("RAY_AUTH_MODE") for v in starts] == ["token", "token"]
    (export,) = (line for line in LINES if "export RAY_AUTH_MODE=token" in line)
    assert f"PATH={HOME}/venv/bin:$PATH" in export  # for `ray exec`, and for who logs in
    (token,) = (t for t, here in CONFIG["file_mounts"].items() if here == "~/.ray/auth_token")
    made = setup._get_default_token_path().relative_to(Path.home())
    assert PurePosixPath(token).relative_to(HOME) == PurePosixPath(made)
    assert [f"chmod 600 {token}"] == [line for line in LINES if line.startswith("chmod")]


def test_a_trial_makes_ray_start_a_gpu_node_from_zero_and_never_fits_on_the_head(tmp_path):
    """Asked of Ray's own autoscaler, with what a trial asks for where there is no GPU yet."""
    scheduler = pytest.importorskip(
        "ray.autoscaler._private.resource_demand_scheduler", reason="Ray moved its autoscaler"
    )
    site = Site(tmp_path, device="gpu", gpus={"default": 1.0})
    placed = place(Trial(method=FineTune()), site, Nodes((), may_grow=True))
    wishes = [{"CPU": placed.cpus, "GPU": placed.gpus}] * 3
    kinds, head = CONFIG["available_node_types"], CONFIG["head_node_type"]
    added, left = scheduler.get_nodes_for(
        kinds,
        {head: 1},
        head,
        CONFIG["max_workers"],
        wishes,
        lambda *a, **k: scheduler._default_utilization_scorer(
            *a, **k, node_availability_summary=scheduler.NodeAvailabilitySummary({})
        ),
    )
    assert (dict(added), left) == ({"gpu": 3}, [])
    on_head, _ = scheduler.get_bin_pack_residual([kinds[head]["resources"]], [{"CPU": placed.cpus}])
    assert on_head == [{"CPU": placed.cpus}]


def test_no_port_is_open_to_strangers():
    assert "0.0.0.0/0" not in TEXT
    assert CONFIG["provider"]["use_internal_ips"]
    kinds = CONFIG["available_node_types"].values()
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in kinds)
    assert all(kind["node_config"]["SubnetIds"] for kind in kinds)
