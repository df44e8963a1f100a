"""Letter H, rows H4 and H5: the variables of the hub and of its client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from numpy_bert import InputError, fetch
from numpy_bert.cli import main
from numpy_bert.loading import requests
from numpy_bert.loading.patience import Patience
from tests.support.hub import StandInHub, hub_environment
from tests.support.repository import FILES, REPO


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("host:99", "host:99"),
        ("ftp://x", "ftp://x"),
        ("http://h:99999", "http://h:99999"),
        ("http://me:geheim@h:99999", r"http://\*\*\*@h:99999"),
        ("http://me:ge/heim@h:99999", r"http://\*\*\*@h:99999"),
        ("https://", "https://"),
    ],
)
def test_h4_a_mirror_that_is_no_url(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    value: str,
    shown: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(InputError, match=rf"variable HF_ENDPOINT must be a URL .*; got '{shown}'"):
        fetch(REPO, cache_dir=tmp_path)
    assert main(["fetch", REPO, "--cache-dir", str(tmp_path)]) == 2
    assert "geheim" not in capsys.readouterr().err


def test_h4_no_mirror_is_the_hub_and_a_password_is_not_shown(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add_commit(REPO, FILES)
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//me:geheim@"))
    hub.fault("status", on="HEAD", code=403)
    assert main(["fetch", REPO]) == 1
    hub.close()
    assert main(["fetch", REPO]) == 1
    err = capsys.readouterr().err
    assert err.count("http://***@127.0.0.1") == 2
    assert "geheim" not in err
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert requests._base() == "https://huggingface.co"


@pytest.mark.parametrize("variable", ["HF_ENDPOINT", "HTTPS_PROXY"])
@pytest.mark.parametrize("user", ["me:ge'heim", "me:ge heim", 'me:ge"heim', "me:ge@heim"])
@pytest.mark.parametrize("scheme", ["http://", "", "foo:"])
def test_h4_a_password_is_not_shown_whatever_it_is_made_of(
    monkeypatch: pytest.MonkeyPatch, variable: str, user: str, scheme: str
) -> None:
    url = f"{scheme}{user}@127.0.0.1:9"
    monkeypatch.setenv(variable, url)
    said = requests.unsecret(f"{url} cannot be reached ({url!r})")
    assert "heim" not in requests.unsecret(url)
    assert "heim" not in said.partition(" cannot")[0]
    assert requests.unsecret(url) == f"{scheme.replace('foo:', '')}***@127.0.0.1:9"


NUMBERS = [
    ("HF_HUB_ETAG_TIMEOUT", "abc", "a whole number from 0 to 1,000,000"),
    ("HF_HUB_ETAG_TIMEOUT", "9" * 40, "a whole number from 0 to 1,000,000"),
    ("HF_HUB_DOWNLOAD_TIMEOUT", "-1", "a whole number from 0 to 1,000,000"),
    ("HF_HUB_DOWNLOAD_TIMEOUT", "", "a whole number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_TRIES", "0", "a whole number from 1 to 1,000,000"),
    ("NUMPY_BERT_FETCH_TRIES", "1.5", "a whole number from 1 to 1,000,000"),
    ("NUMPY_BERT_FETCH_LONGEST_WAIT", "x", "a number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_LONGEST_WAIT", "1e300", "a number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_LOWEST_SPEED", "-5", "a number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_SPEED_WINDOW", "nan", "a number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_MESSAGE_AFTER", "inf", "a number from 0 to 1,000,000"),
    ("NUMPY_BERT_FETCH_LOCK_WAIT", "1e999", "a number from 0 to 1,000,000"),
]


@pytest.mark.parametrize(("variable", "value", "wanted"), NUMBERS)
def test_h5_a_number_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, wanted: str
) -> None:
    monkeypatch.setenv(variable, value)
    words = rf"^the environment variable {variable} must be {wanted}; got '{value}'\.$"
    with pytest.raises(InputError, match=words):
        fetch(REPO, cache_dir=tmp_path)


def test_h5_an_empty_number_of_ours_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Patience.from_environment()
    for variable in {variable for variable, *_ in NUMBERS if variable.startswith("NUMPY_BERT_")}:
        monkeypatch.setenv(variable, "")
    assert Patience.from_environment() == expected


def test_h5_the_client_is_not_even_imported(hub: StandInHub, tmp_path: Path) -> None:
    environment = {**os.environ, **hub_environment(hub, tmp_path), "HF_HUB_ETAG_TIMEOUT": "abc"}
    command = [sys.executable, "-m", "numpy_bert", "fetch", REPO]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert result.stderr == (
        "numpy-bert fetch: error: the environment variable HF_HUB_ETAG_TIMEOUT must be a whole "
        "number from 0 to 1,000,000; got 'abc'.\n"
    )


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_h5_a_cache_that_is_a_file(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    hub.add_commit(REPO, FILES)
    path = tmp_path / "file"
    path.write_text("x")
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(Exception, match=rf"could not be stored in {path}\S* \({variable}\) \(.*"):
        fetch(REPO)
    assert path.read_text() == "x"
