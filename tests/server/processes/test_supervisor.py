"""Real processes: started, linked, killed, started again, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import uvloop

from fusee.server.errors import Reason, ServingError
from fusee.server.processes.child import settings_of
from fusee.server.processes.remote import RemotePlane
from fusee.server.processes.supervisor import ENDS_IN_A_ROW, STEADY_S, Backoff, Supervisor
from fusee.server.settings import Limits, ModelControl, Settings, TlsFiles
from fusee.server.types import InferRequest, InferResponse, Tensor

SETTINGS = Settings(repository=(), limits=Limits(requests=256, body_bytes=1 << 22))
Body = Callable[[Supervisor], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _entries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@asynccontextmanager
async def supervised(front_ends: int, engine: str = "process_entries:engine") -> AsyncGenerator[Supervisor]:
    sockets = [{"line": s} for s in listening(front_ends)]
    supervisor = Supervisor(SETTINGS, engine, "process_entries:front_end", sockets)
    supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.close(10.0)
        for found in sockets:
            found["line"].close()


def listening(count: int) -> list[socket.socket]:
    found: list[socket.socket] = []
    for _ in range(count):
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        end.bind(("127.0.0.1", found[0].getsockname()[1] if found else 0))
        end.listen()
        found.append(end)
    return found


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(body, 60)

    uvloop.run(bounded())


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():
        await asyncio.sleep(0.01)


async def ready(plane: RemotePlane) -> bool:
    return (await plane.call("server_ready", {}))["ready"]


async def infer(plane: RemotePlane, model: str, values: Any) -> InferResponse | ServingError:
    answer: asyncio.Future[InferResponse | ServingError] = asyncio.get_running_loop().create_future()
    array = np.asarray(values, np.float32)
    request = InferRequest(model, "", "7", (Tensor("x", "FP32", array.shape, array),))
    plane.infer(request, answer.set_result)  # a second answer would raise
    return await answer


def plane_of(supervisor: Supervisor) -> RemotePlane:
    assert supervisor.plane is not None
    return supervisor.plane


async def ask(port: int, line: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line}\n".encode())
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


def engine_pid(supervisor: Supervisor) -> int:
    return next(p.pid for p in supervisor.processes() if p.name == "engine")


def test_an_engine_process_answers():
    async def body() -> None:
        async with supervised(0) as supervisor:
            plane = plane_of(supervisor)
            assert await plane.call("server_live", {}) == {"live": True}
            assert await supervisor.loaded() == {"models": 1}
            await until(lambda: ready(plane))
            answer = await infer(plane, "m", [1, 2, 3])
            assert isinstance(answer, InferResponse)
            assert answer.outputs[0].values().tolist() == [2, 4, 6]
            assert await plane.call("pid", {}) == engine_pid(supervisor)
            names = [p[0] for p in await plane.call("processes", {})]
            assert names == ["server", "engine"]

    run(body())


def test_kill_9_under_load_answers_every_request_once_and_the_engine_comes_back():
    async def body() -> None:
        async with supervised(0) as supervisor:
            plane = plane_of(supervisor)
            await until(lambda: ready(plane))
            answers: list[InferResponse | ServingError] = []

            async def ask_on(number: int) -> None:
                while len(answers) < 3000:
                    answer = await infer(plane, "m", np.full(1000, number))
                    if isinstance(answer, InferResponse):
                        assert (answer.outputs[0].values() == 2 * number).all()
                    answers.append(answer)
                    await asyncio.sleep(0)

            askers = [asyncio.create_task(ask_on(i)) for i in range(32)]
            held = asyncio.create_task(infer(plane, "hold", [1]))
            await until(lambda: _true(len(answers) > 500))
            first = engine_pid(supervisor)
            os.kill(first, signal.SIGKILL)
            error = await held
            assert isinstance(error, ServingError)
            assert error.reason is Reason.UNAVAILABLE
            assert error.message == "the engine process ended (signal 9) while the request was under way"
            assert error.retry_after_s == 1.0
            assert await plane.call("server_live", {}) == {"live": True}
            await asyncio.gather(*askers)
            refused = [a for a in answers if isinstance(a, ServingError)]
            assert {a.reason for a in refused} == {Reason.UNAVAILABLE}
            assert all(a.retry_after_s == 1.0 for a in refused)
            assert {a.message.removeprefix("the engine process ") for a in refused} <= {
                "ended (signal 9) while the request was under way",
                "ended (signal 9)",
                "went away",  # nobody has said why yet
                "is starting",
            }
            await until(lambda: ready(plane))
            assert isinstance(await infer(plane, "m", [1]), InferResponse)
            assert engine_pid(supervisor) != first
            assert next(p.restarts for p in supervisor.processes() if p.name == "engine") == 1
            assert not supervisor.failed.done()

    run(body())


async def _true(value: bool) -> bool:
    return value


def test_not_ready_without_an_engine_process_and_alive_all_the_same():
    async def body() -> None:
        async with supervised(0) as supervisor:
            plane = plane_of(supervisor)
            error = await infer(plane, "m", [1])
            assert isinstance(error, ServingError)
            assert (error.reason, error.message) == (Reason.UNAVAILABLE, "the engine process is starting")
            assert not await ready(plane)
            await until(lambda: ready(plane))
            error = await infer(plane, "crash", [1])
            assert isinstance(error, ServingError)
            assert error.message == "the engine process ended (signal 11) while the request was under way"
            assert not await ready(plane)
            with pytest.raises(ServingError, match=r"the engine process ended \(signal 11\)") as caught:
                await plane.call("pid", {})
            assert caught.value.reason is Reason.UNAVAILABLE

    run(body())


def test_front_ends_share_a_port_and_are_started_again():
    async def body() -> None:
        async with supervised(2) as supervisor:
            await supervisor.opened()
            await supervisor.loaded()
            port = supervisor._sockets[0]["line"].getsockname()[1]
            await until(lambda: _equal(ask(port, "engine"), str(engine_pid(supervisor))))
            pids = {p.name: p.pid for p in supervisor.processes()}
            found: set[str] = set()
            while len(found) < 2:
                found.add(await ask(port, "pid"))
            assert found == {str(pids["frontend-0"]), str(pids["frontend-1"])}
            os.kill(pids["frontend-1"], signal.SIGKILL)

            async def is_back() -> bool:
                with suppress(OSError):
                    found.add(await ask(port, "pid"))
                return len(found) == 3

            await until(is_back)
            assert [p.restarts for p in supervisor.processes() if p.name == "frontend-1"] == [1]
            os.kill(engine_pid(supervisor), signal.SIGKILL)
            await until(lambda: _equal(ask(port, "ready"), "True"))

    run(body())


async def _equal(answer: Awaitable[str], expected: str) -> bool:
    return await answer == expected


def test_closing_leaves_no_process():
    async def body() -> None:
        async with supervised(1) as supervisor:
            await supervisor.opened()
            pids = [p.pid for p in supervisor.processes() if p.name != "server"]
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    run(body())


def test_a_process_that_ends_before_it_was_ready_is_not_started_again():
    async def body() -> None:
        async with supervised(0, "process_entries:ends_at_once") as supervisor:
            why = await supervisor.failed
            assert why == "process engine ended (exit code 7) and is not started again"
            error = await infer(plane_of(supervisor), "m", [1])
            assert isinstance(error, ServingError)
            assert (error.message, error.retry_after_s) == ("the engine process ended (exit code 7)", None)

    run(body())


def test_processes_end_with_the_supervisor():
    """Killed outright, it cannot stop them; the kernel does."""
    program = (
        "import asyncio, uvloop\n"
        "from test_supervisor import *\n"
        "async def body():\n"
        "    async with supervised(1) as supervisor:\n"
        "        await supervisor.opened()\n"
        "        await supervisor.loaded()\n"
        "        print(*[p.pid for p in supervisor.processes()], flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "uvloop.run(body())\n"
    )

    async def body() -> None:
        import sys

        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        pids = list(map(int, (await process.stdout.readline()).split()))
        assert len(pids) == 3
        process.kill()
        await process.wait()

        async def are_gone() -> bool:
            return not any(_runs(pid) for pid in pids)

        await until(are_gone)

    run(body())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_backoff_grows_forgets_and_gives_up():
    now_s = 0.0
    backoff = Backoff(lambda: now_s)
    delays = [backoff.ended() for _ in range(ENDS_IN_A_ROW)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 10.0
    assert backoff.ended() is None
    backoff.started()
    now_s = STEADY_S
    assert backoff.ended() == 0.1


def test_settings_travel_as_json():
    settings = Settings(
        repository=(Path("a"), Path("b")),
        model_control=ModelControl.EXPLICIT,
        load_models=("x", "y"),
        keys_file=Path("keys"),
        tls=TlsFiles(Path("cert"), Path("key"), Path("ca")),
        shared_memory_prefix="/camera_",
        frontends=2,
        limits=Limits(requests=7, body_timeout_s=1.5),
    )
    for found in (settings, Settings(repository=())):
        assert settings_of(orjson.loads(orjson.dumps(found, default=str))) == found
