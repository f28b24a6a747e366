"""Several at once, in threads and in processes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.assay.store.making import HandClock, sha256

from assay.cases import Verdict
from assay.settings import Settings
from assay.store import Store

_processes = multiprocessing.get_context("spawn")


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returned, or the exception it raised. They begin together."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        barrier.wait()
        try:
            results[place] = calls[place]()
        except Exception as err:
            results[place] = err

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def in_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``work(place, barrier, *arguments)`` returned in each of ``count`` new processes."""
    barrier, results = _processes.Barrier(count), _processes.Queue()
    processes = [_processes.Process(target=_run, args=(work, n, barrier, results, arguments)) for n in range(count)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    return [found[place] for place in range(count)]


def _run(work: Callable[..., Any], place: int, barrier: Any, results: Any, arguments: tuple[Any, ...]) -> None:
    try:
        results.put((place, work(place, barrier, *arguments)))
    except Exception as err:
        results.put((place, repr(err)))


def finish_all(place: int, barrier: Any, settings: Settings, case_ids: Sequence[str]) -> list[bool]:
    """Try to be the one who gives each case its report."""
    store = Store(settings, HandClock())
    heat_map = b"a map"
    barrier.wait()
    return [
        store.cases.finish(
            case_id, f"report_{place}_{n}", Verdict.CONSISTENT, 0.1, b"%d" % place, {sha256(heat_map): heat_map}, 0.5
        )
        for n, case_id in enumerate(case_ids)
    ]


def open_anew(place: int, barrier: Any, settings: Settings) -> str:
    """Make the tables, a tenant and an entry."""
    barrier.wait()
    store = Store(settings, HandClock())
    tenant = store.tenants.create(f"tenant {place}")
    store.close()
    return tenant.id


def append_entries(place: int, barrier: Any, settings: Settings, tenant_id: str, count: int) -> None:
    store = Store(replace(settings), HandClock())
    barrier.wait()
    for n in range(count):
        store.audit.append(tenant_id, f"key_{place}", "test.entry", f"case_{n}")
