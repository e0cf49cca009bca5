"""Site files: what they may say, and what happens where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import InputError, Resources
from orchestrator.executors.site import find_site, read_site


def write(folder, text):
    path = folder / "spolia.toml"
    path.write_text(text)
    return path


def test_a_site_file_is_read(tmp_path):
    site = read_site(
        write(
            tmp_path,
            'store = "s3://b/x"\nslots = 3\ndevice = "gpu"\n[gpus]\ndefault = 1\ncount = '
            "0.25\n[cpus]\ndefault = 2\n",
        )
    )
    assert (site.store, site.slots, site.device, site.gpus, site.cpus) == (
        "s3://b/x",
        3,
        "gpu",
        {"default": 1, "count": 0.25},
        {"default": 2},
    )
    assert read_site(None).slots is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slot = 3", "unknown key 'slot'. Did you mean 'slots'?"),
        ("slots = 0", "slots = 0: expected a whole number from 1"),
        ("slots = true", "slots = True: expected a whole number from 1"),
        ('slots = "many"', "slots = 'many': expected a whole number from 1"),
        ('device = "cuda"', "device = 'cuda': Valid: 'auto', 'cpu', 'gpu'."),
        ("store = 3", "store = 3: expected a text"),
        ("checkpoint_every = -1", "expected seconds, from 0"),
        ('packages = "my_lab"', "packages = 'my_lab': expected names of packages"),
        ('packages = ["../x"]', "packages = ['../x']: expected names of packages"),
        (
            "[gpus]\nfine_tune = 1.5",
            "fine_tune = 1.5 must be a share of a GPU (0 to 1) or a whole number of them",
        ),
        ("[cpus]\nfine_tune = 0.5", "fine_tune = 0.5 must be a whole number from 1"),
        ("[gpus]\na = inf\nb = nan\nc = -1", "a = inf, b = nan, c = -1 must be a share of a GPU"),
        ("[cpus]\na = inf\nb = nan\nc = -inf", "a = inf, b = nan, c = -inf must be a whole number"),
        ("slots = inf", "slots = inf: expected a whole number from 1"),
        ("slots = -2", "slots = -2: expected a whole number from 1"),
        ("checkpoint_every = inf", "checkpoint_every = inf: expected seconds, from 0"),
        ("checkpoint_every = nan", "checkpoint_every = nan: expected seconds, from 0"),
        ("gpus = inf", "gpus = inf: write a table: [gpus]"),
        (f"slots = 1{'0' * 400}", "expected a whole number from 1"),
        (f"[gpus]\na = 1{'0' * 400}", "must be a share of a GPU"),
        ("gpus = 1", "write a table: [gpus]"),
        ("slots = = 3", "cannot be read"),
    ],
)
def test_a_mistake_in_a_site_file_is_named(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read_site(write(tmp_path, text))
    assert message in str(caught.value)
    assert "spolia.toml" in str(caught.value)


def test_all_mistakes_of_a_site_file_are_told_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read_site(write(tmp_path, "slot = 3\nslots = 0\ndevice = 'x'"))
    assert len(caught.value.problems) == 3


def test_the_nearest_file_upwards_is_found(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_site(None) is None or tmp_path not in find_site(None).parents
    path = write(tmp_path, "slots = 2")
    assert find_site(None) == path
    with pytest.raises(InputError, match="there is no site file"):
        find_site(Path("elsewhere.toml"))


def test_the_command_line_knows_a_wrong_key_and_a_method_that_is_not_there(
    spolia, sweep_file, tmp_path
):
    file = sweep_file("product(Count.grid(), seed=0)")
    write(tmp_path, "trackin = 'none'")
    code, _, err = spolia("run", file)
    assert (code, "unknown key 'trackin'. Did you mean 'tracking'?" in err) == (2, True), err
    write(tmp_path, "tracking = 'none'\n[gpus]\nfine_tun = 0.5")
    code, _, err = spolia("run", file, "--executor", "inline")
    assert (code, "[gpus] fine_tun: no method is called so. Did you mean 'fine_tune'?" in err) == (
        2,
        True,
    ), err


def test_folders_in_a_site_file_are_beside_it_and_the_command_line_goes_first(
    spolia, sweep_file, tmp_path, monkeypatch
):
    file = sweep_file("product(Count.grid(), seed=0)")
    write(tmp_path, "home = 'kept'\ntracking = 'none'\nslots = 1")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert spolia("run", file, "--executor", "inline")[0] == 0
    assert list((tmp_path / "kept/store/results").rglob("result.json"))
    assert spolia("run", file, "--executor", "inline", "--store", tmp_path / "other")[0] == 0
    assert list((tmp_path / "other/results").rglob("result.json"))


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), -1])
def test_a_hint_that_nobody_could_set_aside_is_refused(wrong):
    with pytest.raises(InputError) as caught:
        Resources(cpus=wrong, gpus=wrong)
    assert list(caught.value.problems) == [
        f"cpus = {wrong} must be a whole number from 1",
        f"gpus = {wrong} must be a share of a GPU (0 to 1) or a whole number of them",
    ]
