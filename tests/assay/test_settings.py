"""What an installation is told, and by which of its three ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import Refusal
from assay.settings import read_settings

STORE = "postgresql+psycopg://assay:s3cret@db/assay"


def test_nothing_told_gives_the_defaults(tmp_path: Path) -> None:
    settings = read_settings(tmp_path, {})
    assert settings.database_url == f"sqlite:///{tmp_path / 'assay.sqlite'}"
    assert settings.signing_key == tmp_path / "signing.key"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "assay.toml").write_text('workers = 3\nlease_s = 10\nnotice = "A trial."\n')
    settings = read_settings(tmp_path, {"ASSAY_WORKERS": "5", "ASSAY_HOME": "elsewhere"})
    assert (settings.workers, settings.lease_s, settings.notice) == (5, 10.0, "A trial.")
    assert settings.home == tmp_path


def test_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "store-url"
    secret.write_text(f"{STORE}\n")
    settings = read_settings(tmp_path, {"ASSAY_STORE_URL_FILE": str(secret), "ASSAY_SIGNING_KEY_PATH": "/run/key"})
    assert settings.store_url == STORE
    assert settings.signing_key == Path("/run/key")


def test_a_value_and_a_file_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="ASSAY_QUEUE_URL and ASSAY_QUEUE_URL_FILE are both set; expected one of them"):
        read_settings(tmp_path, {"ASSAY_QUEUE_URL": "memory:", "ASSAY_QUEUE_URL_FILE": "queue"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"ASSAY_STORE_URL_FILE names .*gone, which cannot be read: .*No such file"):
        read_settings(tmp_path, {"ASSAY_STORE_URL_FILE": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("wokers = 1", r"assay\.toml: unknown setting 'wokers'; there are store_url, "),
        ("workers = true", "setting workers is True; expected a whole number"),
        ('lease_s = "soon"', "setting lease_s is 'soon'; expected a number"),
        ("notice = 1", "setting notice is 1; expected text"),
        ("workers =", r"assay\.toml: .*; expected TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "assay.toml").write_text(written)
    with pytest.raises(Refusal, match=said):
        read_settings(tmp_path, {})
