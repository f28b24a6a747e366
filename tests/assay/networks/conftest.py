"""Engines of untrained networks, built once a file."""

from __future__ import annotations

from collections.abc import Generator

import pytest

import fusee
from assay.networks.compare import compare_network
from assay.networks.photo import photo_network, random_weights
from assay.networks.untrained import narrowed
from fusee import Engine


@pytest.fixture(scope="module")
def photo_engine() -> Generator[Engine]:
    with fusee.build(photo_network(narrowed(random_weights(3)))) as engine:
        yield engine


@pytest.fixture(scope="module")
def compare_engine() -> Generator[Engine]:
    with fusee.build(compare_network()) as engine:
        yield engine
