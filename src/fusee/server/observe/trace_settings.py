"""Which requests are traced: the state behind the trace extension, for all models and for single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusee.server.errors import Reason, ServingError, invalid
from fusee.server.types import Json

LEVELS = ("OFF", "TIMESTAMPS", "STEPS")
MODES = ("chrome", "opentelemetry")


@dataclass(frozen=True)
class Rates:
    """The settings of one model, or of all. ``count`` -1 is without end; ``log_frequency`` 0 is one file for all."""

    levels: frozenset[str] = frozenset()
    rate: int = 1000  # one request of so many
    count: int = -1  # requests still to trace
    log_frequency: int = 0  # traces in one file

    @property
    def is_on(self) -> bool:
        return bool(self.levels) and self.rate > 0 and self.count != 0


_FIELDS = {"trace_level": "levels", "trace_rate": "rate", "trace_count": "count", "log_frequency": "log_frequency"}
_FIXED = ("trace_file", "trace_mode")


class TraceSettings:
    """Settings by model, over those for all models, over those the server was started with.

    ``mode`` is one of MODES, or '' where there is nowhere to send a trace.
    """

    def __init__(self, mode: str, file: str = "", initial: Rates | None = None, has_steps: bool = False) -> None:
        self._mode = mode
        self._file = file
        self._initial = initial or Rates()
        self._global = self._initial
        self._models: dict[str, dict[str, Json]] = {}
        self._has_steps = has_steps
        self._seen: dict[str, int] = {}
        self.is_on = self._global.is_on

    def of(self, model: str) -> Rates:
        """The settings that hold for a model; '' for all."""
        own = self._models.get(model)
        return replace(self._global, **own) if own else self._global

    def document(self, model: str) -> Json:
        """The settings as the extension spells them: strings, and a list for the level. '' is for all models."""
        found = self.of(model)
        return {
            "trace_level": sorted(found.levels) or ["OFF"],
            "trace_rate": str(found.rate),
            "trace_count": str(found.count),
            "log_frequency": str(found.log_frequency),
            "trace_file": self._file,
            "trace_mode": self._mode or MODES[0],
        }

    def update(self, model: str, settings: Mapping[str, Json]) -> None:
        """Change settings of a model, or with '' those for all models.

        A value is a string, or a list of strings; None and [] go back to what holds for all models, and for all models
        to what the server was started with. Raises ServingError, and changes nothing then.
        """
        changes = {_field(name): self._value(name, value) for name, value in settings.items()}
        if model:
            own = {**self._models.get(model, {}), **changes}
            self._models[model] = {name: value for name, value in own.items() if value is not None}
        else:
            kept = {name: getattr(self._initial, name) if v is None else v for name, v in changes.items()}
            self._global = replace(self._global, **kept)
        self.is_on = any(self.of(name).is_on for name in ("", *self._models))

    def takes(self, model: str) -> bool:
        """Whether to trace the next request of a model that no caller decided about: the first of every ``rate``."""
        found = self.of(model)
        if not found.is_on:
            return False
        seen = self._seen.get(model, 0)
        self._seen[model] = (seen + 1) % found.rate
        return seen % found.rate == 0

    def took(self, model: str) -> None:
        """Count a traced request down from ``count``."""
        own = self._models.get(model, {})
        if "count" in own:
            own["count"] = _counted(own["count"])
        else:
            self._global = replace(self._global, count=_counted(self._global.count))
        self.is_on = any(self.of(name).is_on for name in ("", *self._models))

    def _value(self, name: str, value: Json) -> Json:
        words = _words(name, value)
        if not words:
            return None
        if name == "trace_level":
            return self._levels(words)
        first, *more = words
        if more:
            raise invalid(f"trace setting {name!r} takes one value, found {list(words)!r}")
        return _whole(name, first, least=-1 if name == "trace_count" else 0)

    def _levels(self, words: tuple[str, ...]) -> frozenset[str]:
        for word in words:
            if word == "TENSORS":
                raise ServingError(Reason.UNSUPPORTED, "trace level TENSORS is not offered: tensors are not recorded")
            if word not in LEVELS:
                raise invalid(f"trace level {word!r} is unknown; expected {', '.join(LEVELS)}")
        levels = frozenset(words) - {"OFF"}
        if levels and not self._mode:
            raise invalid(
                "there is nowhere to write traces: start the server with a trace file or an OpenTelemetry endpoint"
            )
        if "STEPS" in levels and not self._has_steps:
            raise ServingError(Reason.UNSUPPORTED, "trace level STEPS is not offered: this server times no steps")
        return levels


def _field(name: str) -> str:
    if name in _FIXED:
        raise ServingError(Reason.UNSUPPORTED, f"trace setting {name!r} is fixed when the server starts")
    if name not in _FIELDS:
        raise invalid(f"trace setting {name!r} is unknown; expected {', '.join(_FIELDS)}")
    return _FIELDS[name]


def _words(name: str, value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        raise invalid(f"trace setting {name!r} is {value!r}, expected a string or a list of strings")
    return tuple(words)


def _whole(name: str, word: str, least: int) -> int:
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 9) or (found := int(word)) < least:
        raise invalid(f"trace setting {name!r} is {word!r}, expected a whole number, {least} or above")
    return found


def _counted(count: int) -> int:
    return count - 1 if count > 0 else count
