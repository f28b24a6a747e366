"""One contract for both kinds of blob store, and what is particular to folders."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, update
from tests.assay.store.making import Bench, HandClock, a_photo, files_in, sha256

from assay.cases import CaseState
from assay.errors import Reason, Refusal
from assay.settings import Settings
from assay.store import Store
from assay.store.blobs import Blob, DamagedBlob, FolderBlobs
from assay.store.tables import blobs
from assay.views import View

CONTENT = bytes(range(256)) * 300


@pytest.fixture(params=["folder", "database"])
def kept(request: pytest.FixtureRequest, settings: Settings, clock: HandClock) -> Iterator[Bench]:
    """A store with blobs of each kind."""
    bench = Bench(replace(settings, blobs=request.param), clock)
    yield bench
    bench.store.close()


class TestContract:
    def test_what_was_put_is_there_for_its_tenant(self, kept: Bench) -> None:
        stranger = kept.store.tenants.create("Stranger")
        for content in (CONTENT, b""):
            digest = kept.store.blobs.put(kept.tenant.id, content)
            assert digest == sha256(content)
            assert kept.store.blobs.get(kept.tenant.id, digest) == content
            assert kept.store.blobs.get(stranger.id, digest) is None

    @pytest.mark.parametrize("name", ["", "0" * 64, "../" * 21 + "x", "nul\0", "A" * 64])
    def test_what_was_not_put_is_not_there(self, kept: Bench, name: str) -> None:
        assert kept.store.blobs.get(kept.tenant.id, name) is None
        assert kept.store.blobs.get(name, sha256(CONTENT)) is None

    def test_putting_twice_is_putting_once(self, kept: Bench) -> None:
        assert kept.store.blobs.put(kept.tenant.id, CONTENT) == kept.store.blobs.put(kept.tenant.id, CONTENT)
        assert list(kept.store.blobs.written_before(tomorrow(kept))) == [Blob(kept.tenant.id, sha256(CONTENT))]

    def test_several_are_named_in_their_order(self, kept: Bench) -> None:
        contents = [b"b", b"a", b"b", b"c"]
        assert kept.store.blobs.put_all(kept.tenant.id, contents) == [sha256(content) for content in contents]
        assert kept.store.blobs.put_all(kept.tenant.id, []) == []
        assert len(list(kept.store.blobs.written_before(tomorrow(kept)))) == 3

    def test_many_at_once(self, kept: Bench) -> None:
        contents = [b"%d" % (n % 5) * 1000 for n in range(20)]
        threads = [threading.Thread(target=kept.store.blobs.put, args=(kept.tenant.id, c)) for c in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(kept.store.blobs.get(kept.tenant.id, sha256(content)) == content for content in contents)
        assert len(list(kept.store.blobs.written_before(tomorrow(kept)))) == 5

    def test_damage_is_noticed_and_a_new_put_repairs_it(self, kept: Bench) -> None:
        digest = kept.store.blobs.put(kept.tenant.id, CONTENT)
        damage(kept, digest, CONTENT[:-1])
        with pytest.raises(DamagedBlob, match=f"blob {digest} of tenant .* its 76799 bytes have SHA-256 .* restore"):
            kept.store.blobs.get(kept.tenant.id, digest)
        kept.store.blobs.put(kept.tenant.id, CONTENT)
        assert kept.store.blobs.get(kept.tenant.id, digest) == CONTENT

    def test_a_case_goes_its_whole_way(self, kept: Bench) -> None:
        case = kept.reported()
        photo = case.photos[View.EXTERIOR]
        assert kept.store.blobs.get(kept.tenant.id, photo.sha256) is not None
        kept.store.retention.erase(kept.tenant.id, case.id, "key_1")
        assert list(kept.store.blobs.written_before(tomorrow(kept))) == []


class TestOrphans:
    def test_what_no_case_uses_is_swept_when_it_is_old(self, kept: Bench) -> None:
        case = kept.draft([View.LOGO])
        orphan = kept.store.blobs.put(kept.tenant.id, b"never named")
        assert kept.store.retention.sweep_orphans(kept.clock() - timedelta(days=900)) == 0
        assert kept.store.blobs.get(kept.tenant.id, orphan) == b"never named"
        assert kept.store.retention.sweep_orphans(tomorrow(kept)) == 1
        assert kept.store.blobs.get(kept.tenant.id, orphan) is None
        assert kept.store.blobs.get(kept.tenant.id, case.photos[View.LOGO].sha256) is not None

    def test_a_blob_put_again_is_young_again(self, kept: Bench) -> None:
        kept.store.blobs.put(kept.tenant.id, CONTENT)
        age(kept)
        moment = kept.clock()
        assert len(list(kept.store.blobs.written_before(moment))) == 1
        kept.store.blobs.put(kept.tenant.id, CONTENT)
        assert list(kept.store.blobs.written_before(moment)) == []

    def test_a_blob_swept_before_it_is_named_is_asked_for_again(
        self, kept: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The sweep comes between the put and the transaction."""
        case, photo = kept.draft([]), a_photo(View.LOGO, CONTENT)
        put_all = kept.store.blobs.put_all

        def put_then_sweep(tenant_id: str, contents: Sequence[bytes]) -> list[str]:
            stored = put_all(tenant_id, contents)
            kept.store.retention.sweep_orphans(tomorrow(kept))
            return stored

        monkeypatch.setattr(kept.store.blobs, "put_all", put_then_sweep)
        with pytest.raises(Refusal, match="was erased while it was being stored; send it again") as caught:
            kept.store.cases.put_photo(kept.tenant.id, case.id, photo, CONTENT, b"p")
        assert caught.value.reason is Reason.UNAVAILABLE
        monkeypatch.undo()
        assert kept.store.cases.get(kept.tenant.id, case.id).photos == {}
        kept.store.cases.put_photo(kept.tenant.id, case.id, photo, CONTENT, b"p")
        assert kept.store.blobs.get(kept.tenant.id, photo.sha256) == CONTENT

    def test_an_erasure_that_was_interrupted_is_completed(self, kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        case = kept.reported()
        monkeypatch.setattr(kept.store.retention, "_erase_blobs", _crash)
        with pytest.raises(KeyboardInterrupt):
            kept.store.retention.erase(kept.tenant.id, case.id, "key_1")
        monkeypatch.undo()
        assert kept.store.cases.get(kept.tenant.id, case.id).state is CaseState.ERASED
        kept.store.retention.sweep_orphans(kept.clock() - timedelta(days=900))
        assert list(kept.store.blobs.written_before(tomorrow(kept))) == []


class TestFolder:
    def test_remains_of_an_interrupted_write_are_no_blob_and_are_swept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = FolderBlobs(tmp_path)
        monkeypatch.setattr("os.replace", _crash)
        monkeypatch.setattr("os.unlink", lambda path: None)  # a crash tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            store.put("tenant_1", CONTENT)
        monkeypatch.undo()
        assert store.get("tenant_1", sha256(CONTENT)) is None
        assert len(files_in(tmp_path)) == 1
        assert list(store.written_before(datetime.now(UTC) + timedelta(days=1))) == []
        assert files_in(tmp_path) == []

    def test_a_write_that_fails_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        store = FolderBlobs(tmp_path)
        store.put("tenant_1", b"makes the folders")
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(Refusal, match="No space left on device") as caught:
            store.put("tenant_1", b"makes the folders".upper())
        assert caught.value.reason is Reason.UNAVAILABLE
        assert len(files_in(tmp_path)) == 1

    def test_the_file_then_its_folder_reach_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[str, bool]] = []

        def watch(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            seen.append((kind, (path / sha256(CONTENT) if path.is_dir() else path.parent / sha256(CONTENT)).exists()))

        store = FolderBlobs(tmp_path)
        monkeypatch.setattr("os.fsync", watch)
        store.put("tenant_1", CONTENT)
        assert seen[-2:] == [("file", False), ("folder", True)], "the content, under its name only then, then the name"
        assert len(seen) == 4, "and both new folders before"

    def test_others_on_the_machine_cannot_read(self, tmp_path: Path) -> None:
        FolderBlobs(tmp_path / "blobs").put("tenant_1", CONTENT)
        assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700
        (file,) = files_in(tmp_path)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_unknown_kind_is_refused(settings: Settings, clock: HandClock) -> None:
    with pytest.raises(Refusal, match="setting blobs is 'tape'; expected 'folder' or 'database'"):
        Store(replace(settings, blobs="tape"), clock)


def tomorrow(bench: Bench) -> datetime:
    return max(bench.clock(), datetime.now(UTC)) + timedelta(days=1)


def damage(bench: Bench, digest: str, content: bytes) -> None:
    if bench.settings.blobs == "folder":
        (file,) = files_in(bench.settings.home / "blobs")
        file.write_bytes(content)
        return
    engine = create_engine(bench.settings.database_url)
    with engine.begin() as connection:
        connection.execute(update(blobs).where(blobs.c.sha256 == digest).values(content=content))
    engine.dispose()


def age(bench: Bench) -> None:
    """All blobs were written long ago."""
    for file in files_in(bench.settings.home / "blobs"):
        os.utime(file, (0, 0))
    bench.clock.advance(days=1)


def _crash(*_: object) -> None:
    raise KeyboardInterrupt
