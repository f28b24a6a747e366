"""The public names: none comes or goes unnoticed, and each works however else the package was imported."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import fusee

PUBLIC = ("BuildOptions", "CpuTarget", "Engine", "FuseeError", "Session", "build", "load")
ROOMS = {path.stem for path in Path(fusee.__file__).parent.iterdir()}  # Python shows imported rooms as attributes
IMPORTED = {"annotations", "Any", "TYPE_CHECKING"}


def test_public_names():
    assert sorted(fusee.__all__) == sorted(PUBLIC)
    assert {n for n in vars(fusee) if not n.startswith("_")} <= {*PUBLIC, *ROOMS, *IMPORTED}


@pytest.mark.parametrize("name", PUBLIC)
def test_each_is_there_and_documented(name: str):
    assert getattr(fusee, name).__doc__


def test_build_is_one_thing_that_can_be_called_and_imported_from():
    """Whatever was imported or used first."""
    first = fusee.build
    assert first is importlib.import_module("fusee.build")
    assert fusee.BuildOptions is first.BuildOptions  # pyright: ignore
    assert callable(fusee.build)
    assert fusee.build is first


def test_an_unknown_name():
    with pytest.raises(AttributeError, match=r"module 'fusee' has no attribute 'compile'"):
        _ = fusee.compile  # pyright: ignore
