"""The packed engines of an installation: which they are, and the model repository that a Fusee server takes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.errors import Refusal, unavailable
from assay.vision.lens import EngineIdentity

PHOTO, COMPARE = "photo", "compare"
MOST_PHOTOS = 16  # of one batch
QUEUE_DELAY_US = 2000  # that a photograph may wait for those of other cases
MOST_REQUESTS = 256  # that may wait; beyond it callers are refused as OVERLOADED
MODEL_PARAMETER, ENGINE_PARAMETER = "model_sha256", "engine_sha256"  # of config.pbtxt: what is served

_CONFIG = f"""name: "{PHOTO}"
max_batch_size: {MOST_PHOTOS}
dynamic_batching {{
  max_queue_delay_microseconds: {QUEUE_DELAY_US}
  default_queue_policy {{ max_queue_size: {MOST_REQUESTS} }}
}}
parameters {{ key: "{MODEL_PARAMETER}" value {{ string_value: "%s" }} }}
parameters {{ key: "{ENGINE_PARAMETER}" value {{ string_value: "%s" }} }}
"""


def identity_of(engines: Path, name: str) -> EngineIdentity:
    """Of ``engines/<name>.fusee``, as packing recorded it. Raises Refusal UNAVAILABLE when it is not there or not the
    one that was packed."""
    engine, record = engines / f"{name}.fusee", engines / f"{name}.json"
    try:
        written = json.loads(record.read_text())
        packed = EngineIdentity(str(written["source_sha256"]), str(written["engine_sha256"]))
        found = hashlib.sha256(engine.read_bytes()).hexdigest()
    except FileNotFoundError as err:
        raise _unpacked(f"{err.filename} is not there") from err
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as err:
        raise _unpacked(f"{record} is no record of a packed engine: {err}") from err
    if found != packed.engine_digest:
        raise _unpacked(f"{engine} has SHA-256 {found}, expected {packed.engine_digest} as recorded beside it")
    return packed


def _unpacked(what: str) -> Refusal:
    return unavailable(f"{what}; pack the engines for this machine with `assay pack`")


def served_version(identity: EngineIdentity) -> str:
    """The version under which an engine is served. Requests name it: no other engine ever answers them."""
    return str(1 + int(identity.engine_digest[:14], 16))


def serving_folder(engines: Path) -> Path:
    """``engines/serving``: the repository that holds the photo engine, brought up to date.

    LocalLens serves it in its own process; ``fusee serve`` serves it to RemoteLens. Raises Refusal UNAVAILABLE.
    """
    identity = identity_of(engines, PHOTO)
    folder = engines / "serving"
    model = folder / PHOTO
    config = _CONFIG % identity
    if _text_of(model / "config.pbtxt") == config:
        return folder
    version = model / served_version(identity)
    version.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=engines, prefix=".serving-") as name:
        new = Path(name)
        os.link(engines / f"{PHOTO}.fusee", new / "model.fusee")
        (new / "config.pbtxt").write_text(config)
        (new / "model.fusee").replace(version / "model.fusee")
        (new / "config.pbtxt").replace(model / "config.pbtxt")  # last: it says that the rest is here
    for other in model.iterdir():
        if other.is_dir() and other != version:
            shutil.rmtree(other)
    return folder


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
