"""Requests that name no version: to the stable one, a share of them to the canary, copies of them to the shadow."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from fusee.server.errors import invalid
from fusee.server.plane import Post, Servable
from fusee.server.proto.model_config_pb2 import ModelConfig
from fusee.server.repository.shadow import Shadow
from fusee.server.repository.versions import SHARES, Choice
from fusee.server.statistics import ModelStatistics
from fusee.server.types import Done, InferRequest, Json, TensorSpec, Ticket


class Share:
    """Which requests are the canary's: exactly ``share`` of every SHARES that have no id; those with one always fall
    the same way, so that a caller who repeats a request meets the same version."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._owed = 0

    def takes(self, request_id: str) -> bool:
        if request_id:
            return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest()) % SHARES < self._share
        self._owed += self._share
        if self._owed < SHARES:
            return False
        self._owed -= SHARES
        return True


class Route:
    """A servable that is several: it looks like the stable version, and passes each request on."""

    def __init__(self, choice: Choice, servables: Mapping[str, Servable], post: Post) -> None:
        self._choice = choice
        self._stable = servables[choice.stable]
        self._canary = servables.get(choice.canary)
        self._share = Share(choice.canary_share)
        self._shadow = Shadow(servables[choice.shadow], post) if choice.shadow else None
        self._stable_requests = 0
        self._canary_requests = 0

    @property
    def name(self) -> str:
        return self._stable.name

    @property
    def version(self) -> str:
        return self._stable.version

    @property
    def config(self) -> ModelConfig:
        return self._stable.config

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._stable.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._stable.outputs

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        return self._stable.labels

    @property
    def statistics(self) -> ModelStatistics:
        return self._stable.statistics

    def submit(self, request: InferRequest, done: Done) -> Ticket:
        """Pass the request on, and a copy of it to the shadow when that has room."""
        if self._canary is not None and self._share.takes(request.id):
            self._canary_requests += 1
            return self._canary.submit(request, done)
        self._stable_requests += 1
        if self._shadow is None:
            return self._stable.submit(request, done)
        return self._shadow.submit(self._stable, request, done)

    def stop(self) -> None:
        """Give the shadow nothing more."""
        if self._shadow is not None:
            self._shadow.close()

    async def close(self) -> None:
        """End the shadowing; the versions are closed on their own."""
        self.stop()

    def document(self) -> Json:
        """How requests were divided, and what the shadow found."""
        found: dict[str, Json] = {"model": self.name, "stable_version": self.version}
        found["stable_requests"] = self._stable_requests
        if self._choice.canary:
            found["canary_version"] = self._choice.canary
            found["canary_percent"] = self._choice.canary_share / 100
            found["canary_requests"] = self._canary_requests
        if self._shadow is not None:
            found["shadow_version"] = self._choice.shadow
            found["shadow"] = self._shadow.document()
        return found


def route(choice: Choice, servables: Mapping[str, Servable], post: Post) -> Servable:
    """What answers requests without a version. Raises ServingError when the versions are not alike enough."""
    stable = servables[choice.stable]
    if not choice.canary and not choice.shadow:
        return stable
    for role, version in (("canary", choice.canary), ("shadow", choice.shadow)):
        if version:
            _check_alike(stable, servables[version], role)
    if choice.shadow and stable.config.model_transaction_policy.decoupled:
        raise invalid(f"{stable.name}: gives several responses to a request, which a shadow cannot be compared with")
    return Route(choice, servables, post)


def _check_alike(stable: Servable, other: Servable, role: str) -> None:
    for kind, ours, theirs in (("inputs", stable.inputs, other.inputs), ("outputs", stable.outputs, other.outputs)):
        if sorted(ours) != sorted(theirs):
            raise invalid(
                f"{stable.name}: {role} version {other.version} has {kind} {_listed(theirs)}, stable version "
                f"{stable.version} has {_listed(ours)}; they must be the same"
            )


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name} {s.datatype}{list(s.shape)}" for s in sorted(specs))
