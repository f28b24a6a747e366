"""Which versions of a model are served, and which of them answers requests that name none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fusee.server.errors import invalid
from fusee.server.proto.model_config_pb2 import ModelConfig

SHARES = 10_000
"""A canary's share counts these: hundredths of a percent."""

_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?")
ROUTING_PARAMETERS = ("canary_version", "canary_percent", "shadow_version")


@dataclass(frozen=True)
class Choice:
    """The versions to load; '' is no canary or no shadow. ``stable`` answers what names no version and is not the
    canary's."""

    versions: tuple[str, ...]
    stable: str
    canary: str = ""
    canary_share: int = 0  # of SHARES
    shadow: str = ""


def choose(config: ModelConfig, present: Sequence[str], where: str) -> Choice:
    """What the version policy, and the parameters canary_version, canary_percent and shadow_version, select.

    The policy is for the other versions: with versions 1, 2, 3, the policy "latest" and canary_version 3, the versions
    2 and 3 are loaded, 2 is stable. Raises ServingError when a version is missing, or none is left.
    """
    canary, shadow = (_named(config, f"{role}_version", present, where) for role in ("canary", "shadow"))
    share = _share(config, where)
    if bool(canary) != (share is not None):
        raise invalid(f"{where}: parameters canary_version and canary_percent are to be given together")
    if canary and canary == shadow:
        raise invalid(f"{where}: version {canary} cannot be canary and shadow at the same time")
    others = [v for v in present if v not in (canary, shadow)]
    policy = _by_policy(config, others, (canary, shadow), where)
    if not policy:
        raise invalid(f"{where}: no version is left to serve; present are {', '.join(present) or 'none'}")
    versions = sorted({*policy, *filter(None, (canary, shadow))}, key=int)
    return Choice(tuple(versions), max(policy, key=int), canary, share or 0, shadow)


def _by_policy(config: ModelConfig, others: Sequence[str], special: Sequence[str], where: str) -> list[str]:
    policy = config.version_policy
    if policy.HasField("all"):
        return list(others)
    if policy.HasField("specific"):
        named = [str(v) for v in policy.specific.versions]
        if missing := [v for v in named if v not in others and v not in special]:
            raise invalid(f"{where}: version_policy names version {missing[0]}, which is not there")
        return [v for v in others if v in named]
    return sorted(others, key=int)[-max(1, policy.latest.num_versions) :]


def _named(config: ModelConfig, parameter: str, present: Sequence[str], where: str) -> str:
    if parameter not in config.parameters:
        return ""
    version = config.parameters[parameter].string_value
    if version not in present:
        raise invalid(f"{where}: {parameter} is {version!r}; the versions are {', '.join(present) or 'none'}")
    return version


def _share(config: ModelConfig, where: str) -> int | None:
    if "canary_percent" not in config.parameters:
        return None
    text = config.parameters["canary_percent"].string_value
    found = _PERCENT.fullmatch(text)
    share = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else SHARES + 1
    if share > SHARES:
        raise invalid(f"{where}: canary_percent is {text!r}, expected 0 to 100 with at most two decimals")
    return share
