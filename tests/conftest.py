"""Shared fixtures.

Every test gets a home of its own; Ray, MLflow and S3 are the real ones, private to the process
that runs the test. `support/tiers.py` says which tests belong to a tier.
"""

from __future__ import annotations

import compileall
import gc
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Ray reads these when it starts; its workers find the sample methods by this path, and may load
# them.
SAMPLES = Path(__file__).parent / "samples"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(SAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["SPOLIA_PACKAGES"] = ",".join(sorted(path.stem for path in SAMPLES.glob("*.py")))
os.environ.pop("SPOLIA_SWEEP_FOLDERS", None)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# Ray starts its workers with a niceness of 15: beside tests that compute they hardly get a core,
# and a node whose answer to the handshake takes two seconds of computing gives none in a minute.
# Nor is Ray's own half a minute for its start always enough.
os.environ.update({"RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "300"})
# A worker for each CPU, started before anybody wants one, is of no use: Tune asks for others.
os.environ.update({"RAY_prestart_worker_first_driver": "0"})
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # tests run beside each other
    os.environ[name] = "1"
for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)
for name in ("SPOLIA_HOME", "SPOLIA_STORE", "SPOLIA_TRACKING", "SPOLIA_DATA", "SPOLIA_SITE"):
    os.environ.pop(name, None)
# Compiled code is kept, also where the machine says otherwise, as images for containers do: pytest
# would rewrite the assertions of all files anew in every worker, and every process compile ours.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import pytest  # noqa: E402
from typer.main import get_command  # noqa: E402

from orchestrator import Store  # noqa: E402

pytest_plugins = (
    "mlflow_servers",
    "tiers",
    "plain_ray",
    "plain_torch",
    "written_here",
    "orchestrator.testing.plugin",
)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ROOT = Path(__file__).resolve().parents[1]
MEMORY = Path("/dev/shm")
ROOM = {"fast": 2 * 1024**3, "full": 8 * 1024**3}  # bytes; either leaves far less at any time


def _runs_programs(folder: Path) -> bool:
    """Whether we may write there and execute what we have written: containers may not."""
    may_write = os.access(folder, os.W_OK)
    return may_write and not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0)


@pytest.hookimpl(tryfirst=True)  # before pytest asks where its folders are to be
def pytest_configure(config: pytest.Config) -> None:
    """Folders of this process alone, for decoded images and for Ray, out of the user's own."""
    # A store is thousands of small files, which a disk takes ten times as long to make and remove.
    room = ROOM.get(config.getoption("tier"), math.inf)
    if _runs_programs(MEMORY) and shutil.disk_usage(MEMORY).free > room:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
    made = {
        "SPOLIA_CACHE": tempfile.mkdtemp(
            prefix="spolia-test-cache-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")
        ),
        "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray", dir="/tmp"),  # paths of sockets must be short
    }
    os.environ.update(made)
    if not hasattr(config, "workerinput"):
        for room in ("orchestrator", "methods"):  # what workers import while they test, too
            compileall.compile_dir(ROOT / room, quiet=2)
    gc.disable()  # what is imported stays, and to look through it again and again takes seconds
    # A shell without job control has what it starts in the background ignore Ctrl-C, and that is
    # inherited by the processes which tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What draws the plots of pages takes four seconds to make, and only a browser reads it.
    Path(made["SPOLIA_CACHE"], f"vega-{version('vl-convert-python')}.js").write_text("// Vega\n")
    for folder in made.values():
        config.add_cleanup(lambda folder=folder: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
    # A test may write a module twice within a second, which Python would not notice.
    sys.dont_write_bytecode = True


READ = Path(__file__).parent / "__pycache__" / "read"


@pytest.fixture(scope="session", autouse=True)
def _read_sources() -> Iterator[None]:
    """What was read off sources by tests before these is there, by the SHA-256 of their bytes."""
    own = Path(os.environ["SPOLIA_CACHE"], "code")
    if READ.is_dir():
        shutil.copytree(READ, own, dirs_exist_ok=True)
    yield
    READ.mkdir(parents=True, exist_ok=True)
    for file in own.glob("*.json"):
        whole = READ / f"{file.name}.{os.getpid()}"
        shutil.copy(file, whole)
        whole.replace(READ / file.name)


@pytest.fixture(autouse=True)
def _no_folders_of_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's sweep file may be imported beside is nothing to the next."""
    monkeypatch.setenv("SPOLIA_SWEEP_FOLDERS", "")


@pytest.fixture(autouse=True)
def _same_draws_in_any_order() -> None:
    """What a test draws without a seed of its own is the same, whatever was drawn before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:  # as it is in a process that has just imported it
        sys.modules["torch"].default_generator.manual_seed(67280421310721)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


@cache
def _commands_of(app):
    """What Typer makes of all signatures before each call, of which a process has one."""
    return get_command(app)


@pytest.fixture
def spolia(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs the command line in this process, in an empty folder.

    Returns (exit status, standard output, standard error).
    """
    from orchestrator import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.main.get_command", _commands_of)
    # `--data` sets it for the process, which is this one here: afterwards it is as before.
    before = os.environ.get("SPOLIA_DATA")
    monkeypatch.setenv("SPOLIA_DATA", before or "")
    if before is None:
        monkeypatch.delenv("SPOLIA_DATA")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spolia", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        else:
            code = 0
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return call


@pytest.fixture
def sweep_file(tmp_path: Path):
    """Writes a sweep file: `sweep_file("product(Count.grid(...), seed=range(2))", expect=2)`."""

    def write(cells: str, expect: int | str = 1, name: str = "asked.py", before: str = "") -> Path:
        path = tmp_path / name
        path.write_text(
            '"""What is asked?"""\n'
            "from methods.compatible_features import CompatibleFeatures\n"
            "from methods.fine_tune import FineTune\n"
            "from methods.networks import resnet8, small_vgg\n"
            "from methods.recombine import Recombine\n"
            "from orchestrator import Sweep, digits, product, torchvision_set, union, zipped\n"
            "from sample_methods import *\n"
            f"{before}\n"
            f"sweep = Sweep(question=__doc__, cells={cells}, expect={expect})\n"
        )
        return path

    return write


@pytest.fixture(scope="session")
def start_ray(_plain_ray):
    """`start_ray()`: a Ray of our own with two slots, kept for the next test that wants one."""
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    def start():
        if not of_ray.ray.is_initialized():
            of_ray.start_local(2)

    yield start
    of_ray.ray.shutdown()


@pytest.fixture
def local_ray(start_ray):
    """The same, for a test."""
    start_ray()


@pytest.fixture
def no_ray(monkeypatch):
    """A process that is connected to no Ray and that finds none.

    The Ray of the session is ended (the next test that wants it starts it again). What others run
    on this machine stays: Ray looks through all processes for a raylet, and is told of none.
    """
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    of_ray.ray.shutdown()
    monkeypatch.setattr("ray._private.services._find_address_from_flag", lambda flag: set())
    return of_ray.ray


@pytest.fixture(scope="session")
def _migrated_database(tmp_path_factory) -> Path:
    """A database with MLflow's tables and nothing in them."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "template.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def fresh_database(_migrated_database):
    """`fresh_database(path)`: a new database, as MLflow makes it; returns its address."""

    def copy(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_migrated_database, path)
        return f"sqlite:///{path}"

    return copy


@pytest.fixture(scope="session")
def _s3_server():
    """An S3 on this machine, with one bucket."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_DEFAULT_REGION="us-east-1",
    )
    host, port = server.get_host_and_port()
    where = f"{host}:{port}"
    fs.S3FileSystem(
        endpoint_override=where, scheme="http", region="us-east-1", allow_bucket_creation=True
    ).create_dir("bucket")
    yield where
    server.stop()


@pytest.fixture
def s3(_s3_server, tmp_path) -> str:
    """The address of an empty place on it, a new one for each test."""
    return (
        f"s3://bucket/{tmp_path.name}?endpoint_override={_s3_server}&scheme=http&region=us-east-1"
    )


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"reads real image sets, which are not part of the repository: no {SHARED}")
    monkeypatch.setenv("SPOLIA_DATA", str(SHARED))
    return SHARED
