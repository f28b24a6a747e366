"""Loads, replaces and unloads models. All state on the loop's thread; reading and making of servables on others.

A load makes anew what changed, warms it up, and only then puts it in the place of the old, in one step. The old is
closed after that, when it has answered what it accepted. When anything fails, the old stays and says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import ParamSpec, TypeVar

from fusee.base.errors import FuseeError
from fusee.server.errors import Reason, ServingError, invalid, not_found
from fusee.server.plane import Post, Servable
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.building import Builder
from fusee.server.repository.layout import Refusal, Source, find_model
from fusee.server.repository.loading import Backend, Loaded, Loader, Prepared, prepare, said
from fusee.server.repository.models import Model, State, VersionState
from fusee.server.repository.overrides import NOTHING, Override
from fusee.server.repository.routing import Route, route
from fusee.server.repository.versions import ROUTING_PARAMETERS
from fusee.server.repository.warmup import warm_up, warmup_requests
from fusee.server.settings import Settings

Closing = Sequence[asyncio.Task[None]]
LOADERS = 4  # versions made at the same time
P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("fusee.server.repository")


class Lifecycle:
    """The models and the table that requests are looked up in."""

    def __init__(self, settings: Settings, backends: Mapping[str, Backend], post: Post) -> None:
        self.models: dict[str, Model] = {}
        self.table: dict[tuple[str, str], Servable] = {}  # by name and version; '' is by policy
        self.is_closed = False
        self._settings = settings
        self._post = post
        self._builder = Builder(settings.build_threads)
        self._loader = Loader(settings, backends, self._builder, post, self.find)
        self._loaders = ThreadPoolExecutor(LOADERS, "fusee-load")
        self._readers = ThreadPoolExecutor(1, "fusee-read")
        self._loads: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def find(self, name: str, version: str) -> Servable:
        """The servable of a name and version, '' by policy. Raises ServingError."""
        try:
            return self.table[name, version]
        except KeyError:
            raise self._absent(name, version) from None

    def _absent(self, name: str, version: str) -> ServingError:
        if self.is_closed:
            return ServingError(Reason.UNAVAILABLE, "the server is stopping")
        unknown = f"Request for unknown model: '{name}'"
        model = self.models.get(name)
        if model is None:
            return not_found(f"{unknown} is not found")
        if model.is_ready:
            return not_found(f"{unknown} version {version} is not found")
        if model.is_loading:
            return ServingError(Reason.UNAVAILABLE, f"{unknown} has no available versions: it is loading", 1.0)
        return not_found(f"{unknown} has no available versions")

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that looks at files on the thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: function(*args, **kwargs))

    async def load(self, name: str, override: Override = NOTHING, is_explicit: bool = False) -> None:
        """Load a model and what it asks. The load goes on when the caller is cancelled. Raises ServingError."""
        self.check_open()
        task = asyncio.get_running_loop().create_task(self._load(name, override, is_explicit))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        await asyncio.shield(task)

    async def _load(
        self,
        name: str,
        override: Override = NOTHING,
        is_explicit: bool = False,
        is_forced: bool = False,
        chain: tuple[str, ...] = (),
    ) -> None:
        """``is_forced`` makes it anew even if nothing of its own changed; ``chain`` are the ensembles for whose sake it
        is loaded."""
        prepared = await self._prepared(name, override)
        model = self.models.setdefault(name, Model(name))
        model.is_wanted, model.composing = True, prepared.composing
        model.is_explicit |= is_explicit
        model.loads += 1
        try:
            await self._load_composing(model, (*chain, name))
            async with model.turn:
                before = _interface(model)
                await self._replace(model, prepared, is_forced)
                after = _interface(model)
        finally:
            model.loads -= 1
        await self._load_dependents(name, before != after)

    async def _load_composing(self, model: Model, chain: tuple[str, ...]) -> None:
        """Have the models ready that an ensemble asks. Raises ServingError."""
        for other in model.composing:
            if self._is_ready(other):
                continue
            try:
                if other in chain:
                    raise invalid(f"ensembles ask each other in a circle: {' -> '.join((*chain, other))}")
                await self._load(other, chain=chain)
            except ServingError as err:
                model.refusal = f"{model.name}: asks the model {other!r}, which is not available: {err.message}"
                raise ServingError(err.reason, model.refusal) from err

    async def _prepared(self, name: str, override: Override) -> Prepared:
        try:
            source = override.source or await self.read(find_model, self._settings.repository, name)
            if source is None:
                raise not_found(f"failed to load '{name}': there is no such model in the repository")
            if isinstance(source, Refusal):
                raise invalid(f"failed to load '{name}': {source.reason}")
            return await self.read(prepare, source, self._settings, override.config)
        except ServingError as err:
            self._refuse(name, err)
            raise

    def _refuse(self, name: str, err: ServingError) -> None:
        """Remember why there was nothing to load, unless the name itself is no model's."""
        if err.reason is Reason.NOT_FOUND and name not in self.models:
            return
        model = self.models.setdefault(name, Model(name))
        model.refusal = err.message
        _log.error("%s: %s", name, err.message)

    def _is_ready(self, name: str) -> bool:
        model = self.models.get(name)
        return model is not None and model.is_ready

    async def _replace(self, model: Model, prepared: Prepared, is_forced: bool) -> None:
        """Make what changed and switch over to it. Raises ServingError; nothing has changed then."""
        self.check_open()
        kept = {} if is_forced else self._unchanged(model, prepared)
        made = tuple(v for v in prepared.choice.versions if v not in kept)
        if not made and model.prepared == prepared:
            model.keep()
            return
        model.begin(made)
        loaded = await self._made(model, prepared, made)
        everything = {**kept, **loaded}
        try:
            self.check_open()
            default = route(prepared.choice, {v: x.servable for v, x in everything.items()}, self._post)
        except ServingError as err:
            await _close_all(loaded.values())
            model.fail(made, {}, err.message)
            raise
        self._switch(model, prepared, everything, default)

    def check_open(self) -> None:
        """Raises ServingError once the server is stopping."""
        if self.is_closed:
            raise ServingError(Reason.UNAVAILABLE, "the server is stopping")

    def _unchanged(self, model: Model, prepared: Prepared) -> dict[str, Loaded]:
        """The versions that serve on as they are: neither their files nor the configuration changed."""
        before = model.prepared
        if before is None or _made_with(before) != _made_with(prepared):
            return {}
        return {
            v: loaded
            for v, loaded in model.ready().items()
            if v in prepared.versions and prepared.versions[v] == loaded.stamp
        }

    async def _made(self, model: Model, prepared: Prepared, versions: Sequence[str]) -> dict[str, Loaded]:
        """New versions, warmed up: all of them, or none and ServingError."""
        outcomes = await asyncio.gather(
            *(self._make(model, prepared, version) for version in versions), return_exceptions=True
        )
        loaded = {v: o for v, o in zip(versions, outcomes, strict=True) if isinstance(o, Loaded)}
        failed = {v: o for v, o in zip(versions, outcomes, strict=True) if isinstance(o, BaseException)}
        if not failed:
            return loaded
        await _close_all(loaded.values())
        reasons = {v: said(o) for v, o in failed.items()}
        for version, outcome in failed.items():
            is_ours = not isinstance(outcome, FuseeError)
            _log.error(
                "%s version %s: %s", model.name, version, reasons[version], exc_info=outcome if is_ours else None
            )
        model.fail(tuple(versions), reasons, "another version failed to load")
        whole = "".join(f" version {v} is at UNAVAILABLE state: {reason};" for v, reason in reasons.items())
        raise invalid(f"load failed for model '{model.name}':{whole}")

    async def _make(self, model: Model, prepared: Prepared, version: str) -> Loaded:
        started_s = monotonic()
        before = model.versions[version].loaded
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._loaders, self._loader.load, prepared, version, before)
        try:
            source: Source = prepared.source
            config = loaded.servable.config
            requests = await self.read(warmup_requests, config, version, source.root, source.folder)
            await warm_up(loaded.servable, requests)
        except BaseException:
            await loaded.servable.close()
            raise
        if requests:
            loaded.servable.statistics.forget()
        loaded.servable.statistics.load_s = monotonic() - started_s
        return loaded

    def _switch(self, model: Model, prepared: Prepared, loaded: Mapping[str, Loaded], default: Servable) -> None:
        """The one step in which the new versions take the place of the old ones."""
        before = model.ready()
        old_default = self.table.get((model.name, ""))
        for version in before.keys() - loaded.keys():
            del self.table[model.name, version]
        for version, one in loaded.items():
            self.table[model.name, version] = one.servable
            model.versions[version] = VersionState(State.READY, loaded=one)
        self.table[model.name, ""] = default
        model.prepared, model.refusal = prepared, ""
        if isinstance(old_default, Route):
            old_default.stop()
        for version, one in before.items():
            if version not in loaded:
                self._retire(model, version, one, "unloaded")
            elif (after := loaded[version]) is not one:
                if _differs_in_instances(one, after):
                    after.servable.statistics.go_on_from(one.servable.statistics)
                self._close_later(one.servable)
        _log.info("%s: serves version %s", model.name, ", ".join(sorted(loaded, key=int)))

    async def unload(self, model: Model) -> Closing:
        """Take a model out of service. Ensembles that ask it go first, and have answered what they accepted when it
        goes itself; they come back with it. Gives what is being closed, which need not be waited for."""
        model.is_wanted = model.is_explicit = False
        model.refusal = ""
        await self._take_out_dependents(model.name)
        return await self._take_out(model)

    async def _take_out_dependents(self, name: str) -> None:
        for other in self.dependents(name):
            if other.is_ready:
                await self._take_out_dependents(other.name)
                await asyncio.gather(*await self._take_out(other))

    async def _take_out(self, model: Model) -> Closing:
        async with model.turn:
            default = self.table.pop((model.name, ""), None)
            if isinstance(default, Route):
                default.stop()
            model.prepared = None
            for version in model.ready():
                del self.table[model.name, version]
            return [self._retire(model, version, one, "unloaded") for version, one in model.ready().items()]

    def dependents(self, name: str) -> list[Model]:
        """The ensembles that ask a model."""
        return [m for m in self.models.values() if name in m.composing and m.is_wanted]

    async def _load_dependents(self, name: str, is_changed: bool) -> None:
        """Ensembles that wait for this model are loaded; those made for other tensors of it are made anew."""
        for dependent in self.dependents(name):
            if dependent.loads or (dependent.is_ready and not is_changed):
                continue
            try:
                await self._load(dependent.name, is_forced=True)
            except ServingError as err:
                _log.error("%s: %s", dependent.name, err.message)

    def _retire(self, model: Model, version: str, loaded: Loaded, reason: str) -> asyncio.Task[None]:
        """Close a version that is in the table no more."""
        state = model.versions[version] = VersionState(State.UNLOADING)

        def closed() -> None:
            state.state, state.reason = State.UNAVAILABLE, reason

        return self._close_later(loaded.servable, closed)

    def _close_later(self, servable: Servable, then: Callable[[], None] = lambda: None) -> asyncio.Task[None]:
        async def close() -> None:
            await servable.close()
            then()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def close(self) -> None:
        """Answer what was accepted, then give everything back; first the models that no other asks."""
        self.is_closed = True
        self._builder.close()
        await asyncio.gather(*self._loads, return_exceptions=True)
        remaining = dict(self.models)
        while remaining:
            asked = {name for model in remaining.values() for name in model.composing if name != model.name}
            free = [m for m in remaining.values() if m.name not in asked] or list(remaining.values())
            for model in free:
                await self._take_out(remaining.pop(model.name))
            await self._closed()
        await asyncio.get_running_loop().run_in_executor(None, self._loaders.shutdown)
        self._readers.shutdown(wait=False)

    async def _closed(self) -> None:
        while self._closing:
            await asyncio.gather(*self._closing)


async def _close_all(loaded: Iterable[Loaded]) -> None:
    """Close what will not be served after all."""
    for one in loaded:
        await one.servable.close()


def _differs_in_instances(before: Loaded, after: Loaded) -> bool:
    """Whether a version is the same but for the number of its instances: its statistics go on then, as in Triton."""
    is_changed = before.servable.config.instance_group != after.servable.config.instance_group
    old, new = (before.file, before.stamp, _but_instances(before)), (after.file, after.stamp, _but_instances(after))
    return is_changed and old == new


def _but_instances(loaded: Loaded) -> bytes:
    config = ModelConfig()
    config.CopyFrom(loaded.servable.config)
    config.ClearField("instance_group")
    return config.SerializeToString(deterministic=True)


def _interface(model: Model) -> object:
    """What ensembles were made for: the tensors, and how many items a request may have."""
    return [
        (v, x.servable.inputs, x.servable.outputs, x.servable.config.max_batch_size) for v, x in model.ready().items()
    ]


def _made_with(prepared: Prepared) -> tuple[object, ...]:
    """What every version of a model depends on beside its own files: not which versions those are."""
    config = ModelConfig()
    config.CopyFrom(prepared.config)
    config.ClearField("version_policy")
    for name in ROUTING_PARAMETERS:
        config.parameters.pop(name, None)
    return config.SerializeToString(deterministic=True), prepared.labels, str(prepared.source.folder)
