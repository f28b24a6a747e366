"""Engines of untrained networks, built once."""

from __future__ import annotations

import pytest

import fusee
from assay.networks.compare import compare_network
from assay.networks.photo import photo_network, random_weights
from assay.networks.untrained import narrowed
from fusee import Engine


@pytest.fixture(scope="session")
def photo_engine() -> Engine:
    return fusee.build(photo_network(narrowed(random_weights(3))))


@pytest.fixture(scope="session")
def compare_engine() -> Engine:
    return fusee.build(compare_network())
