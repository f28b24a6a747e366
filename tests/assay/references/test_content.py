"""A snapshot as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.assay.references.making import BRIONNE, NOON, a_snapshot, assert_equal_snapshots

from assay.references.content import AnyArray, from_npy, npy_bytes, restored, sealed, written
from assay.references.snapshot import Snapshot, Spread, ViewReferences
from assay.views import View


def test_comes_back_as_it_was() -> None:
    snapshot = a_snapshot()
    header, files = written(snapshot)
    assert_equal_snapshots(restored(header, lambda digest: from_npy(files[digest])), snapshot)


def with_logo(snapshot: Snapshot, change: Callable[[ViewReferences], ViewReferences]) -> Snapshot:
    return replace(snapshot, views={**snapshot.views, View.LOGO: change(snapshot.views[View.LOGO])})


def nudged(array: AnyArray) -> AnyArray:
    changed = array.copy()
    changed.flat[-1] = np.nextafter(changed.flat[-1], 2) if changed.dtype.kind == "f" else changed.flat[-1] + 1
    return changed


CHANGES: dict[str, Callable[[Snapshot], Snapshot]] = {
    "claim": lambda s: replace(s, claim=BRIONNE),
    "version": lambda s: replace(s, version=2),
    "model": lambda s: replace(s, model_digest="e" * 64),
    "time": lambda s: replace(s, created_at=NOON + timedelta(microseconds=1)),
    "view": lambda s: replace(s, views={v: k for v, k in s.views.items() if v is not View.LOGO}),
    "photo": lambda s: with_logo(s, lambda k: replace(k, photos=(replace(k.photos[0], item="?"), *k.photos[1:]))),
    "order": lambda s: with_logo(s, lambda k: replace(k, photos=k.photos[::-1])),
    "embeddings": lambda s: with_logo(s, lambda k: replace(k, embeddings=nudged(k.embeddings))),
    "bank": lambda s: with_logo(s, lambda k: replace(k, bank=nudged(k.bank))),
    "origin": lambda s: with_logo(s, lambda k: replace(k, origin=nudged(k.origin))),
    "one_class": lambda s: with_logo(s, lambda k: replace(k, one_class=Spread(k.one_class.mean, 0.5))),
    "metric": lambda s: with_logo(s, lambda k: replace(k, metric=Spread(0.2 + 1e-16, k.metric.deviation + 1e-16))),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_the_digest_is_over_everything(changed: str) -> None:
    snapshot = a_snapshot()
    assert sealed(snapshot).digest == snapshot.digest
    assert sealed(CHANGES[changed](snapshot)).digest != snapshot.digest


def test_the_digest_does_not_depend_on_the_order_in_memory() -> None:
    snapshot = a_snapshot()
    bank = np.asfortranarray(snapshot.views[View.LOGO].bank)
    shuffled = with_logo(snapshot, lambda known: replace(known, bank=bank))
    shuffled = replace(shuffled, views=dict(reversed(shuffled.views.items())))
    assert sealed(shuffled).digest == snapshot.digest


@given(arrays.arrays(st.sampled_from([np.float32, np.int32]), arrays.array_shapes(max_dims=2, min_side=0)))
def test_arrays_come_back_as_they_were(array: AnyArray) -> None:
    again = from_npy(npy_bytes(array))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
