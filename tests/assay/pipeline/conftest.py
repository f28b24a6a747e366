"""A store, a queue in memory and cases in them; and a whole installation with references of one model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.cases import Case, Claim, Lane, Tenant
from assay.imaging.intake import receive
from assay.imaging.uploads import Limits
from assay.settings import Settings
from assay.store import Store
from assay.synthetic import Condition, Item, Style, draw_style, encode, genuine, photograph
from assay.views import VIEWS, View

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLAIM = Claim("Some", "Bag")
STYLE_SEED = 31_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings, lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return store.tenants.create("Atelier")


@pytest.fixture(scope="session")
def style() -> Style:
    return draw_style(STYLE_SEED)


@pytest.fixture(scope="session")
def photographs(style: Style) -> Callable[..., dict[View, bytes]]:
    """Six photographs of a genuine item by its seed, drawn once."""
    drawn: dict[tuple[int, Condition], dict[View, bytes]] = {}

    def of(seed: int, condition: Condition = Condition.GOOD) -> dict[View, bytes]:
        if (seed, condition) not in drawn:
            drawn[seed, condition] = _photographed(genuine(style, seed), condition)
        return drawn[seed, condition]

    return of


def _photographed(item: Item, condition: Condition) -> dict[View, bytes]:
    return {v: encode(photograph(item, v, 10 * item.seed + i, condition, 512)) for i, v in enumerate(VIEWS)}


@pytest.fixture(scope="session")
def submit() -> Callable[..., Case]:
    """Submits a case with these photographs, of one view at least."""

    def submitted(store: Store, tenant: Tenant, photos: dict[View, bytes], claim: Claim = CLAIM) -> Case:
        case = store.cases.create(tenant.id, claim, Lane.NORMAL)
        for view, content in photos.items():
            photo, upload = receive(view, content, Limits(20_000_000, 50_000_000), NOW)
            store.cases.put_photo(tenant.id, case.id, photo, content, upload.picture)
        return store.cases.submit(tenant.id, case.id)

    return submitted


@pytest.fixture
def run() -> Callable[..., object]:
    """Runs a coroutine on a loop of its own, for half a minute at most."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 30))
