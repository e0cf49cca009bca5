"""A home that was moved or copied, and networks that leave it for others to use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator import Store
from orchestrator.parts.result import Result
from orchestrator.tracking.moved_homes import is_elsewhere

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn

CELLS = (
    "product(FineTune.grid(epochs=1), network=resnet8(width=4), "
    "tasks=digits.classes(0, 1, 2).images(limit=40).named('a'), seed=0)"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {"home": tmp_path_factory.mktemp("made") / "home"}


@pytest.fixture
def home(made, spolia, sweep_file, fresh_database, tmp_path, written_here):
    """A home of the test's own with one network in it, tracked; and the sweep file."""
    file = sweep_file(CELLS)
    if not made["home"].exists():
        fresh_database(made["home"] / "mlflow.db")
        code, _, err = spolia("run", file, "--home", made["home"], "--executor", "inline")
        assert code == 0, err
    copied = tmp_path / "home"
    shutil.copytree(made["home"], copied)
    (copied / "store/sweeps/asked.json").unlink()  # it names the sweep file of the first test
    return copied, file


def client(home):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{home / 'mlflow.db'}")


def only_run(home, role="cell"):
    found = client(home)
    experiment = found.get_experiment_by_name("asked").experiment_id
    (run,) = found.search_runs([experiment], f"tags.`spolia.role` = '{role}'")
    return run


def test_a_copied_home_finds_its_artifacts_and_leaves_the_original_alone(home, spolia, made):
    copied, file = home
    before = sorted(made["home"].rglob("*"))
    code, out, err = spolia("track", file, "--home", copied)
    assert (code, "1 runs written now" in out) == (0, True), err
    # As if the original were gone.
    place = Path(only_run(copied).info.artifact_uri.removeprefix("file://"))
    assert place.is_relative_to(copied)
    assert (place / "provenance.json").exists()
    found = client(copied)
    experiment = found.get_experiment_by_name("asked").experiment_id
    (model,) = found.search_logged_models([experiment])
    assert Path(model.artifact_location.removeprefix("file://")).is_relative_to(copied)
    assert sorted(made["home"].rglob("*")) == before
    # Once is enough.
    code, out, _ = spolia("track", file, "--home", copied)
    assert (code, "0 runs written now" in out) == (0, True)


@pytest.mark.parametrize(
    ("location", "tracking", "is_moved"),
    [
        ("file:///b/home/mlartifacts", "sqlite:////b/home/mlflow.db", False),
        ("file:///a/home/mlartifacts", "sqlite:////b/home/mlflow.db", True),
        # A database that several homes may share.
        ("file:///a/home/mlartifacts", "sqlite:////shared/mlflow.db", False),
        ("s3://bucket/art", "sqlite:////b/home/mlflow.db", False),
        ("file:///a/home/mlartifacts", "http://tracker:5000", False),
    ],
)
def test_which_home_was_moved(location, tracking, is_moved):
    assert is_elsewhere(location, "file:///b/home/mlartifacts", tracking) == is_moved


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_promoted_network_needs_nothing_of_ours(home, spolia, tmp_path):
    copied, file = home
    spolia("track", file, "--home", copied)
    store = Store(copied / "store")
    (key,) = store.finished()
    code, out, err = spolia("promote", key[:12], "--as", "digit reader", "--home", copied)
    assert code == 0, err
    assert "version 1 of digit reader" in out
    assert 'load_model("models:/digit reader@best")' in out
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", pixels)
    program = (
        "import sys, importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('orchestrator', 'methods'):\n"
        "            raise AssertionError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import mlflow, numpy as np\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/digit reader@best')\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2])))\n"
    )
    address = f"sqlite:///{copied / 'mlflow.db'}"
    given = [tmp_path / "x.npy", tmp_path / "y.npy"]
    command = [sys.executable, "-c", program, address, *map(str, given)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stderr
    result = Result(store, store.find(key))
    (component,) = result.every_component()
    data = store.data(result.trial.tasks[0].data)
    by = result.trial.tasks[0].normalised_by or data
    with torch.no_grad():
        expected = component.ready()((torch.from_numpy(pixels) / 255 - by.mean[0]) / by.std[0])
    assert np.allclose(np.load(given[1]), expected.numpy(), atol=1e-5)
    # Again: the alias goes to the new version.
    code, out, _ = spolia("promote", key, "--as", "digit reader", "--home", copied)
    assert (code, "version 2" in out) == (0, True)
    assert client(copied).get_model_version_by_alias("digit reader", "best").version == 2


def test_what_is_not_tracked_cannot_be_promoted(home, spolia, fresh_database, tmp_path):
    copied, _ = home
    (key,) = Store(copied / "store").finished()
    other = fresh_database(tmp_path / "other.db")
    where = ("--home", copied, "--tracking", other)
    code, _, err = spolia("promote", key, "--as", "reader", *where)
    assert (code, "bring it level first" in err) == (2, True)
    code, _, err = spolia("promote", key, "--as", "a/b", *where)
    assert (code, "no slash" in err) == (2, True)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_sweep_and_a_promoted_network_on_a_server(home, spolia, server):
    """The link that opens the sweep is printed, and files go through the server."""
    import mlflow
    from mlflow import MlflowClient

    copied, file = home
    where = ("--home", copied, "--tracking", f"{server.address}/")
    code, out, err = spolia("run", file, *where, "--executor", "inline")
    assert (code, "1 runs written now" in out) == (0, True), err
    at = MlflowClient(server.address)
    experiment = at.get_experiment_by_name("asked").experiment_id
    link = f"{server.address}/#/experiments/{experiment}/runs?viewStateShareKey=spolia-settings"
    assert f"in MLflow: {link}" in out
    assert spolia("ui", file, *where)[1].startswith(link)
    (key,) = Store(copied / "store").finished()
    for version in (1, 2):
        code, out, err = spolia("promote", key[:8], "--as", "reader", *where)
        assert (code, f"version {version} of reader" in out) == (0, True), err
    mlflow.set_tracking_uri(server.address)
    try:
        model = mlflow.pyfunc.load_model("models:/reader@best")
        assert model.predict(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 3)
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("alias", ["latest", "v2", "a b", ""])
def test_an_alias_that_mlflow_refuses_is_told_before_anything_is_registered(home, spolia, alias):
    copied, _ = home
    (key,) = Store(copied / "store").finished()
    where = ("--home", copied, "--alias", alias)
    code, _, err = spolia("promote", key, "--as", "reader", *where)
    assert (code, "MLflow's aliases have letters" in err) == (2, True)
    assert not client(copied).search_registered_models()


def test_what_kept_nothing_cannot_be_promoted(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=0)")
    where = ("--home", tmp_path / "home")
    spolia("run", file, *where, "--executor", "inline", "--tracking", "none")
    (key,) = Store(tmp_path / "home/store").finished()
    code, _, err = spolia("promote", key, "--as", "reader", *where)
    assert (code, "kept no component" in err) == (2, True)
