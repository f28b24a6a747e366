"""Canaries get exactly their share; shadows are compared, and never delay or fail a caller."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fusee.server.errors import Reason, ServingError
from fusee.server.repository.repository import Repository
from fusee.server.repository.routing import Share
from fusee.server.repository.shadow import MOST_COPIES, Difference, compare
from fusee.server.types import InferResponse
from server.repository.fake_models import PIPELINE, Fakes, answer, request, run, settings, states, until, write


def parameters(**values: str) -> str:
    return "".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in values.items())


@given(st.integers(0, 10_000))
def test_the_share_of_requests_without_an_id_is_exact(share: int):
    found = Share(share)
    taken = [found.takes("") for _ in range(10_000)]
    assert sum(taken) == share
    done = np.cumsum(taken)
    assert np.all(np.abs(done - np.arange(1, 10_001) * share / 10_000) <= 1), "at every moment"


def test_a_request_id_always_falls_the_same_way():
    first, second = Share(2500), Share(2500)
    ids = [f"request {i}" for i in range(4000)]
    taken = [first.takes(i) for i in ids]
    assert taken == [second.takes(i) for i in ids]
    assert 900 < sum(taken) < 1100
    wider = Share(5000)
    assert all(wider.takes(i) for i, was in zip(ids, taken, strict=True) if was), "a larger share keeps who was in it"


def test_a_canary_is_rolled_out_promoted_and_rolled_back_by_loads(tmp_path: Path):
    folder = write(tmp_path, "m", {"1": "1", "2": "2"}, PIPELINE + parameters(canary_version="2", canary_percent="25"))
    fakes = Fakes()

    async def reconfigure(models: Repository, more: str) -> None:
        (folder / "config.pbtxt").write_text(PIPELINE + more)
        await models.load("m", {})

    async def shares(models: Repository) -> dict[str, int]:
        return dict(Counter([(await answer(models, "m")).version for _ in range(100)]))

    async def body(models: Repository) -> None:
        assert states(models, "m") == ["1 READY", "2 READY"]
        assert models.find("m", "").version == "1"
        assert await shares(models) == {"1": 75, "2": 25}
        assert (await answer(models, "m", version="2")).version == "2"
        assert models.comparison("m") == [
            {
                "model": "m",
                "stable_version": "1",
                "stable_requests": 75,
                "canary_version": "2",
                "canary_percent": 25.0,
                "canary_requests": 25,
            }
        ]
        await reconfigure(models, parameters(canary_version="2", canary_percent="50"))
        assert await shares(models) == {"1": 50, "2": 50}
        assert len(fakes.made) == 2, "shares change, versions stay as they are"
        await reconfigure(models, "")
        assert await shares(models) == {"2": 100}
        assert len(fakes.made) == 2
        assert models.comparison() == []
        await reconfigure(models, "version_policy { specific { versions: 1 } }")
        assert await shares(models) == {"1": 100}

    run(settings(tmp_path), fakes, body)


@pytest.mark.parametrize("role", ["canary_version", "shadow_version"])
def test_versions_that_take_other_tensors_cannot_stand_in(tmp_path: Path, role: str):
    more = parameters(canary_percent="5") if role == "canary_version" else ""
    write(tmp_path, "m", {"1": "1", "2": "2"}, PIPELINE + parameters(**{role: "2"}) + more)
    fakes = Fakes()

    def changed(context: object) -> object:
        model = fakes(context)
        if model.version == "2":
            model.config.output[0].dims[0] = 3
        return model

    async def body() -> None:
        loop = asyncio.get_running_loop()
        models = Repository(settings(tmp_path), {"python": changed}, loop.call_soon_threadsafe)
        await models.start()
        (entry, _) = models.index(False)
        assert entry["state"] == "UNAVAILABLE"
        found = "version 2 has outputs y FP32[-1, 3], stable version 1 has y FP32[-1, 2]; they must be the same"
        assert found in entry["reason"]
        assert all(m.is_closed for m in fakes.made)
        await models.close()

    asyncio.run(body())


def shadowed(tmp_path: Path) -> Fakes:
    write(tmp_path, "m", {"1": "1", "2": "1.5"}, PIPELINE + parameters(shadow_version="2"))
    return Fakes()


def shadow(models: Repository) -> dict:
    (found,) = models.comparison("m")
    return found["shadow"]


def test_a_shadow_is_compared(tmp_path: Path):
    async def body(models: Repository) -> None:
        for value in (0.0, 1.0, -3.0):
            found = await answer(models, "m", value=value)
            assert found.version == "1"
            count = shadow(models)["requests"]
            await until(lambda c=count: shadow(models)["outputs"].get("y", {}).get("compared") == c + 1)
        assert shadow(models) == {
            "requests": 3,
            "dropped": 0,
            "failed": 0,
            "outputs": {
                "y": {
                    "compared": 3,
                    "mismatched": 0,
                    "max_abs_difference": 0.5,
                    "max_rel_difference": pytest.approx(1 / 3),
                    "argmax_agreement": 1.0,
                }
            },
        }

    run(settings(tmp_path), shadowed(tmp_path), body)


def test_the_shadow_is_asked_after_the_caller_was_answered_with_what_was_sent(tmp_path: Path):
    fakes = shadowed(tmp_path)

    async def body(models: Repository) -> None:
        stable, other = fakes.of("m", "1"), fakes.of("m", "2")
        stable.gate = False
        sent = request("m", value=5.0)
        order: list[str] = []
        models.find("m", "").submit(sent, lambda _: order.append("answered"))
        await asyncio.sleep(0)
        assert other.asked == []
        stable.release()
        assert order == ["answered"]
        assert other.asked == []
        sent.inputs[0].values()[:] = 77  # its memory is the caller's again
        await until(lambda: bool(other.asked))
        assert other.asked[0].inputs[0].values().tolist() == [[5.0, 5.0]]

    run(settings(tmp_path), fakes, body)


def test_a_slow_shadow_is_passed_over(tmp_path: Path):
    fakes = shadowed(tmp_path)

    async def body(models: Repository) -> None:
        other = fakes.of("m", "2")
        other.gate = False
        for _ in range(MOST_COPIES + 3):
            assert (await answer(models, "m")).version == "1"
        await until(lambda: len(other.asked) == MOST_COPIES)
        assert shadow(models)["dropped"] == 3
        other.gate = True
        other.release()
        await until(lambda: shadow(models)["outputs"].get("y", {}).get("compared") == MOST_COPIES)
        await answer(models, "m")
        await until(lambda: len(other.asked) == MOST_COPIES + 1)

    run(settings(tmp_path), fakes, body)


def test_errors_of_either_side_are_not_the_other_ones(tmp_path: Path):
    fakes = shadowed(tmp_path)

    async def body(models: Repository) -> None:
        stable, other = fakes.of("m", "1"), fakes.of("m", "2")
        other.failure = ServingError(Reason.INTERNAL, "the shadow breaks")
        assert isinstance(await answer(models, "m"), InferResponse)
        await until(lambda: shadow(models)["failed"] == 1)
        stable.failure = ServingError(Reason.INTERNAL, "the stable breaks")
        asked = len(other.asked)
        with pytest.raises(ServingError, match="the stable breaks"):
            await answer(models, "m")
        await asyncio.sleep(0)
        assert len(other.asked) == asked
        stable.failure = other.failure = None
        for _ in range(MOST_COPIES):
            await answer(models, "m")
        await until(lambda: shadow(models)["outputs"].get("y", {}).get("compared") == MOST_COPIES)

    run(settings(tmp_path), fakes, body)


def test_a_shadow_that_goes_while_copies_are_under_way_is_not_asked_again(tmp_path: Path):
    fakes = shadowed(tmp_path)

    async def body(models: Repository) -> None:
        stable, other = fakes.of("m", "1"), fakes.of("m", "2")
        stable.gate = False
        waiting = [asyncio.ensure_future(answer(models, "m")) for _ in range(3)]
        await asyncio.sleep(0)
        await models.unload("m", dependents=False)
        stable.release()
        await asyncio.gather(*waiting)
        await until(lambda: other.is_closed and stable.is_closed)
        assert other.asked == []

    run(settings(tmp_path), fakes, body)


def test_arrays_are_compared():
    a = np.array([[1.0, 2.0], [5.0, 4.0]], np.float32)
    assert compare(a, a) == Difference(0, 0, 2, 2)
    assert compare(a, a[:, ::-1]) == Difference(1, 0.5, 2, 0)
    assert compare(a, a.astype(np.float64)) is None
    assert compare(a, a[:1]) is None
    assert compare(np.float32([np.nan, 1]), np.float32([np.nan, 1])) == Difference(0, 0, 1, 1)
    assert compare(np.float32([np.nan]), np.float32([1])) == Difference(np.inf, np.inf, 0, 0)
    assert compare(np.array([b"a"], object), np.array([b"b"], object)) == Difference(1, 1, 0, 0)
    assert compare(np.int8([-128]), np.int8([127])) == Difference(255, 255 / 128, 0, 0)
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))) == Difference(0, 0, 0, 0)


floats = arrays.arrays(np.float32, st.just((2, 3)), elements=st.floats(width=32))


@given(floats, floats)
def test_any_arrays_can_be_compared(a: np.ndarray, b: np.ndarray):
    found, back = compare(a, b), compare(b, a)
    assert found == back
    assert found is not None
    assert found.max_abs >= 0
    assert found.max_rel >= 0
    assert (found.max_abs == 0) == bool(np.array_equal(a, b, equal_nan=True))
