"""Where things lie on the head, out of what is said here."""

from __future__ import annotations

import pytest

from orchestrator import InputError
from orchestrator.session.places import places
from orchestrator.submission.places import Given, address_of_head, options_there

HOME = '--home "${SPOLIA_HOME:-$HOME/spolia-home}"'


@pytest.fixture
def site(tmp_path, monkeypatch):
    """`site(text)`: the places of a site file that says this."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOLIA_DATA", "")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    def write(text=""):
        if text:
            (tmp_path / "spolia.toml").write_text(text)
        return places()

    return write


@pytest.mark.parametrize(
    ("text", "given", "options"),
    [
        ('store = "s3://b/s"', {}, f"--site spolia.toml {HOME}"),
        ("", {"store": "s3://b/s"}, f"--store s3://b/s {HOME}"),
        ('store = "/shared/s"\nhome = "/shared/home"', {}, "--site spolia.toml"),
        ('home = "spolia-home"\nstore = "s3://b/s"', {}, f"--site spolia.toml {HOME}"),
        ('data = "~/images"\nstore = "s3://b/s"', {}, f"--site spolia.toml {HOME}"),
        (
            "",
            {"home": "/h", "tracking": "http://t:5000", "data": "/my images"},
            "--tracking http://t:5000 --data '/my images' --home /h",
        ),
        (
            "",
            {"store": "gs://b", "tracking": "none", "home": "~/h"},
            "--store gs://b --tracking none --home '~/h'",
        ),
    ],
)
def test_what_the_head_is_told(site, text, given, options):
    assert options_there(Given(**given), site(text)) == options


@pytest.mark.parametrize(
    ("text", "given", "problems"),
    [
        ("", {}, ["the store: it would be a folder on this machine"]),
        ('store = "store"', {}, ["the store: store is a folder on this machine"]),
        ('store = "~/store"', {}, ["the store: ~/store is a folder on this machine"]),
        ('home = "here"', {}, ["the store: it would be"]),
        ("", {"store": "a", "home": "b"}, ["--home b: a folder beside", "the store: a is"]),
        ('store = "s3://b"\ndata = "images"', {}, ["data in the site file images: a folder"]),
        ('store = "s3://b"\ntracking = "sqlite:///a.db"', {}, ["tracking in the site file sqlite"]),
    ],
)
def test_folders_of_this_machine_are_refused_all_at_once(site, text, given, problems):
    with pytest.raises(InputError, match="the head cannot use these places") as refused:
        options_there(Given(**given), site(text))
    assert len(refused.value.problems) == len(problems)
    for told, expected in zip(refused.value.problems, problems, strict=True):
        assert told.startswith(expected)


def test_variables_for_home_and_images_name_this_machines_own_folders(monkeypatch):
    monkeypatch.setenv("SPOLIA_HOME", "/mine/home")
    monkeypatch.setenv("SPOLIA_DATA", "/mine/images")
    monkeypatch.setenv("SPOLIA_STORE", "s3://b")
    said = {"home": "/mine/home", "store": "s3://b", "tracking": None, "data": "/theirs"}
    assert Given.without_own_folders(**said) == Given(store="s3://b", data="/theirs")


@pytest.mark.parametrize(
    ("given", "text", "variables", "address"),
    [
        ("http://a:1", 'head = "http://b:2"', {}, "http://a:1"),
        (None, 'head = "https://b/ray/"', {"RAY_ADDRESS": "http://c:3"}, "https://b/ray"),
        (None, "", {"RAY_ADDRESS": "http://c:3"}, "http://c:3"),
        (
            None,
            "",
            {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_API_SERVER_ADDRESS": "http://d:4"},
            "http://d:4",
        ),
        ("a:8265", "", {}, "http://a:8265"),
    ],
)
def test_where_the_head_is(site, monkeypatch, given, text, variables, address):
    where = site(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert address_of_head(given, where) == address


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "nothing says where the head is"),
        ("auto", "'auto' is no address to hand a sweep in at"),
        ("ray://a:10001", "'ray://a:10001' is no address"),
    ],
)
def test_what_is_no_address_of_a_head(site, given, words):
    with pytest.raises(InputError, match=words):
        address_of_head(given, site())
