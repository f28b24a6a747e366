"""Cases of what surrounds inference: health, metadata, configuration, repository, statistics, settings."""

from __future__ import annotations

import json
from functools import partial

import numpy as np

from server.conformance.case import Case, Cases
from server.conformance.clients import ALL, Client, In, refused
from server.conformance.records import Record

SERVICE = Cases()
CONFIGURED = ("simple", "classes", "repeat", "slow", "no_batch", "versions", "chain", "identity_bytes")
NUMBERS = np.arange(16, dtype=np.int32)[np.newaxis]
SUMMANDS = (In("INPUT0", NUMBERS), In("INPUT1", np.ones_like(NUMBERS)))


@SERVICE.case("server is live", *ALL)
def _(client: Client) -> Record:
    return client.call("is_server_live")


@SERVICE.case("server is ready", *ALL)
def _(client: Client) -> Record:
    return client.call("is_server_ready")


@SERVICE.case("model is ready", *ALL)
def _(client: Client) -> Record:
    asked = (("simple", ""), ("simple", "1"), ("simple", "2"), ("versions", "3"), ("versions", "2"), ("spare", ""))
    return {
        **{f"{name}:{version}": client.call("is_model_ready", name, version) for name, version in asked},
        "unknown": refused((), lambda: client.call("is_model_ready", "unknown")),
    }


@SERVICE.case("server metadata", *ALL)
def _(client: Client) -> Record:
    metadata = client.call("get_server_metadata")
    return {**metadata, "extensions": dict.fromkeys(metadata["extensions"], True)}


def _metadata(name: str, version: str, client: Client) -> Record:
    return client.call("get_model_metadata", name, version)


def _config(name: str, client: Client) -> Record:
    return client.call("get_model_config", name)


SERVICE += [Case(f"metadata of {name}", ALL, partial(_metadata, name, "")) for name in CONFIGURED]
SERVICE += [Case("metadata of a version", ALL, partial(_metadata, "versions", "3"))]
SERVICE += [Case(f"configuration of {name}", ALL, partial(_config, name)) for name in CONFIGURED]


@SERVICE.case("metadata of what is not there", *ALL)
def _(client: Client) -> Record:
    return {
        "model": refused(("unknown",), lambda: client.call("get_model_metadata", "unknown")),
        "version": refused(("versions", "2"), lambda: client.call("get_model_metadata", "versions", "2")),
        "no number": refused(("first",), lambda: client.call("get_model_metadata", "versions", "first")),
    }


@SERVICE.case("configuration of what is not there", *ALL)
def _(client: Client) -> Record:
    return {
        "model": refused(("unknown",), lambda: client.call("get_model_config", "unknown")),
        "version": refused(("versions", "2"), lambda: client.call("get_model_config", "versions", "2")),
    }


def _states(client: Client, *names: str) -> Record:
    index = client.call("get_model_repository_index")
    entries = index["models"] if isinstance(index, dict) else index
    return sorted(
        (
            {k: v for k, v in each.items() if k != "reason"}
            for each in entries
            if each["name"] in (names or each["name"])
        ),
        key=lambda each: (each["name"], each.get("version", "")),
    )


@SERVICE.case("repository index", *ALL)
def _(client: Client) -> Record:
    return [each for each in _states(client) if each["name"] != "spare"]


@SERVICE.case("load and unload", *ALL)
def _(client: Client) -> Record:
    client.call("load_model", "spare")
    loaded = _states(client, "spare"), client.call("is_model_ready", "spare"), client.infer("spare", SUMMANDS)
    client.call("unload_model", "spare")
    gone = refused(("spare",), lambda: client.infer("spare", SUMMANDS))
    return {"loaded": list(loaded), "ready": client.call("is_model_ready", "spare"), "gone": gone}


@SERVICE.case("load again what is loaded", *ALL)
def _(client: Client) -> Record:
    client.call("load_model", "classes")
    return _states(client, "classes")


@SERVICE.case("load with another configuration", *ALL)
def _(client: Client) -> Record:
    config = client.call("get_model_config", "identity_int8")
    config = config.get("config", config)
    client.call("load_model", "identity_int8", config=json.dumps({**config, "max_batch_size": 3}))
    changed = client.call("get_model_config", "identity_int8")
    client.call("load_model", "identity_int8")
    restored = client.call("get_model_config", "identity_int8")
    return [each.get("config", each)["max_batch_size"] for each in (changed, restored)]


@SERVICE.case("load what cannot be loaded", *ALL)
def _(client: Client) -> Record:
    return {
        "unknown": refused(("unknown",), lambda: client.call("load_model", "unknown")),
        "path": refused((), lambda: client.call("load_model", "..")),
        "config": refused(("spare",), lambda: client.call("load_model", "spare", config="{")),
    }


@SERVICE.case("unload what is not loaded", *ALL)
def _(client: Client) -> Record:
    return {
        "spare": refused(("spare",), lambda: client.call("unload_model", "spare")),
        "unknown": refused(("unknown",), lambda: client.call("unload_model", "unknown")),
    }


def _counts(client: Client, name: str) -> dict[str, int]:
    (entry,) = client.call("get_inference_statistics", name)["model_stats"]
    stages = {key: int(stage.get("count", 0)) for key, stage in entry.get("inference_stats", {}).items()}
    batches = {f"batch {b['batch_size']}": int(b["compute_infer"]["count"]) for b in entry.get("batch_stats", [])}
    whole = {key: int(entry.get(key, 0)) for key in ("inference_count", "execution_count")}
    return {**stages, **batches, **whole}


@SERVICE.case("statistics move", *ALL)
def _(client: Client) -> Record:
    two = np.ones((2, 16), np.int32)
    before = _counts(client, "simple")
    client.infer("simple", SUMMANDS)
    client.infer("simple", [In("INPUT0", two), In("INPUT1", two)])
    refused((), lambda: client.infer("simple", [In("INPUT0", two)]))
    after = _counts(client, "simple")
    return {key: after[key] - before.get(key, 0) for key in sorted(after) if after[key] != before.get(key, 0)}


@SERVICE.case("statistics have this shape", *ALL)
def _(client: Client) -> Record:
    client.infer("simple", SUMMANDS)
    (entry,) = client.call("get_inference_statistics", "simple", "1")["model_stats"]
    batch = entry["batch_stats"][0]
    return {
        "entry": sorted(entry),
        "stages": sorted(entry["inference_stats"]),
        "stage": sorted(entry["inference_stats"]["success"]),
        "batch": sorted(batch),
        "types": [type(entry["inference_count"]).__name__, type(batch["batch_size"]).__name__],
    }


@SERVICE.case("statistics of every model", *ALL)
def _(client: Client) -> Record:
    entries = client.call("get_inference_statistics")["model_stats"]
    return sorted([each["name"], each["version"]] for each in entries)


@SERVICE.case("statistics of what is not there", *ALL)
def _(client: Client) -> Record:
    return {
        "model": refused(("unknown",), lambda: client.call("get_inference_statistics", "unknown")),
        "version": refused(("simple",), lambda: client.call("get_inference_statistics", "simple", "2")),
    }


@SERVICE.case("trace settings", *ALL)
def _(client: Client) -> Record:
    changed, first = {"trace_rate": "7", "trace_count": "5"}, {"trace_rate": "1000", "trace_count": "-1"}
    return {
        "at first": client.call("get_trace_settings"),
        "changed": client.call("update_trace_settings", settings=changed),
        "seen": client.call("get_trace_settings"),
        "restored": client.call("update_trace_settings", settings={"trace_level": ["OFF"], **first}),
    }


@SERVICE.case("trace settings of a model", *ALL)
def _(client: Client) -> Record:
    cleared = {"trace_rate": None, "trace_level": None}
    return {
        "changed": client.call("update_trace_settings", "simple", {"trace_rate": "9"}),
        "others": client.call("get_trace_settings", "classes"),
        "cleared": client.call("update_trace_settings", "simple", cleared),
        "unknown": refused(("unknown",), lambda: client.call("get_trace_settings", "unknown")),
    }


@SERVICE.case("trace settings that are wrong", *ALL)
def _(client: Client) -> Record:
    return {
        "nowhere to write": refused(
            (), lambda: client.call("update_trace_settings", None, {"trace_level": ["TIMESTAMPS"]})
        ),
        "level": refused(("LOUD",), lambda: client.call("update_trace_settings", None, {"trace_level": ["LOUD"]})),
        "rate": refused(("trace_rate",), lambda: client.call("update_trace_settings", None, {"trace_rate": "often"})),
        "name": refused(("colour",), lambda: client.call("update_trace_settings", None, {"colour": "red"})),
    }


@SERVICE.case("log settings", *ALL)
def _(client: Client) -> Record:
    return {
        "at first": client.call("get_log_settings"),
        "changed": client.call("update_log_settings", {"log_verbose_level": 1, "log_warning": False}),
        "restored": client.call("update_log_settings", {"log_verbose_level": 0, "log_warning": True}),
    }


@SERVICE.case("log settings that are wrong", *ALL)
def _(client: Client) -> Record:
    return {
        "name": refused(("colour",), lambda: client.call("update_log_settings", {"colour": True})),
        "value": refused(("log_info",), lambda: client.call("update_log_settings", {"log_info": 3})),
    }
