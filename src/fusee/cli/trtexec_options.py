"""trtexec's options: which are honoured, which change nothing here and why, which are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusee.base.errors import RequestError

# trtexec's options that change nothing here, and why; each use is reported.
REASONS = {
    "permits a lower precision; this engine computes in the model's own types": "fp16 bf16 int8 fp8 int4 best",
    "steers lower precision; this engine computes in the model's own types": "calib precisionConstraints "
    "layerPrecisions layerOutputTypes calibProfile minShapesCalib optShapesCalib maxShapesCalib",
    "has no meaning on a CPU": "noTF32 stronglyTyped sparsity useCudaGraph noCudaGraph useSpinWait noSpinWait "
    "noDataTransfers includeDataTransfers exposeDMA useManagedMemory device directIO persistentCacheRatio "
    "hardwareCompatibilityLevel runtimePlatform l2LimitForTiling tilingOptimizationLevel weightStreamingBudget "
    "allowWeightStreaming maxAuxStreams",
    "is TensorRT's own": "memPoolSize builderOptimizationLevel maxTactics avgTiming tacticSources timingCacheFile "
    "noBuilderCache noCompilationCache errorOnTimingCacheMiss preview tempdir profilingVerbosity separateProfileRun "
    "allocationStrategy versionCompatible vc excludeLeanRuntime useRuntime decomposableAttentions asyncFileReader "
    "timeDeserialize timeRefit dumpRefit dumpOptimizationProfile",
    "is not needed: an engine runs at any shape": "minShapes maxShapes profile useProfile",
    "is not honoured: one query after another is measured": "infStreams streams sleepTime idleTime",
}
WITHOUT_EFFECT = {option: reason for reason, options in REASONS.items() for option in options.split()}

# What would give another result than the caller counts on is refused.
REFUSED = {
    option: reason
    for reason, options in {
        "weights cannot be changed in a built engine; build it again": "refit stripWeights stripAllWeights "
        "refitFromOnnx",
        "plugins are TensorRT's; ops that Fusee lacks are listed by fusee build": "staticPlugins dynamicPlugins "
        "setPluginsToSerialize plugins",
        "inputs and outputs keep the model's types and layouts": "inputIOFormats outputIOFormats",
        "use fusee compare for accuracy": "loadRefOutputs refPair accuracyAlgorithm accuracyThreshold atol rtol",
        "there are no build routes to tune": "tuneBuildRoutes tuneBuildRouteFile tuningSearch tuningCacheFile "
        "tuningTimeOut saveAllEngines dryRun continue helpBuildRoute setBuildRoute",
        "intermediate tensors are seen with FUSEE_CHECK and FUSEE_DUMP": "markDebug markUnfusedTensorsAsDebugTensors "
        "saveDebugTensors saveAllDebugTensors",
        "use fusee inspect": "getPlanVersionOnly",
    }.items()
    for option in options.split()
}


@dataclass(frozen=True)
class Execution:
    """The options that are honoured, with trtexec's names and defaults."""

    onnx: str = ""
    save_engine: str = ""
    load_engine: str = ""
    skip_inference: bool = False
    shapes: str = ""
    load_inputs: str = ""
    iterations: int = 10
    duration: float = 3.0
    warm_up: float = 200.0
    avg_runs: int = 10
    percentile: tuple[float, ...] = (90.0, 95.0, 99.0)
    threads: int = 0
    verbose: bool = False
    dump_profile: bool = False
    dump_output: bool = False
    dump_raw_bindings: bool = False
    dump_layer_info: bool = False
    export_times: str = ""
    export_output: str = ""
    export_profile: str = ""
    export_layer_info: str = ""
    ignored: tuple[str, ...] = field(default=())


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(x) for x in text.split(","))


# trtexec's name -> our field, and how its value is read; None for a switch.
OPTIONS: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    "onnx": ("onnx", str),
    "saveEngine": ("save_engine", str),
    "loadEngine": ("load_engine", str),
    "skipInference": ("skip_inference", None),
    "shapes": ("shapes", str),
    "optShapes": ("shapes", str),
    "loadInputs": ("load_inputs", str),
    "iterations": ("iterations", int),
    "duration": ("duration", float),
    "warmUp": ("warm_up", float),
    "avgRuns": ("avg_runs", int),
    "percentile": ("percentile", _floats),
    "threads": ("threads", int),
    "verbose": ("verbose", None),
    "dumpProfile": ("dump_profile", None),
    "dumpOutput": ("dump_output", None),
    "dumpRawBindingsToFile": ("dump_raw_bindings", None),
    "dumpLayerInfo": ("dump_layer_info", None),
    "exportTimes": ("export_times", str),
    "exportOutput": ("export_output", str),
    "exportProfile": ("export_profile", str),
    "exportLayerInfo": ("export_layer_info", str),
}

# The sections of trtexec's option dump.
SECTIONS = (
    ("Model Options", ("onnx",)),
    ("Build Options", ("save_engine", "load_engine", "skip_inference", "shapes")),
    ("Inference Options", ("load_inputs", "iterations", "duration", "warm_up", "threads")),
    ("Reporting Options", ("verbose", "avg_runs", "percentile", "dump_profile", "dump_output", "dump_layer_info")),
    ("Export Options", ("export_times", "export_output", "export_profile", "export_layer_info")),
)


def parse(arguments: Sequence[str]) -> Execution:
    """Read trtexec's command line. Raises RequestError for an option that is unknown or has a bad value."""
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for argument in arguments:
        name, has_value, text = argument.removeprefix("--").partition("=")
        if name in WITHOUT_EFFECT and argument.startswith("--"):
            ignored.append(name)
            continue
        _check_known(argument, name)
        key, read = OPTIONS[name]
        try:
            values[key] = read(text) if read and has_value else True if read is None else _missing(name)
        except ValueError:
            raise RequestError(f"exec: --{name}={text}: not a value for this option") from None
    options = Execution(**values, ignored=tuple(dict.fromkeys(ignored)))
    if bool(options.onnx) == bool(options.load_engine):
        raise RequestError("exec: expected one of --onnx=model.onnx and --loadEngine=file")
    if any(not 0 < p <= 100 for p in options.percentile):
        raise RequestError("exec: --percentile takes numbers above 0 and up to 100, such as 90,99")
    if options.avg_runs < 1:
        raise RequestError(f"exec: --avgRuns={options.avg_runs}: expected 1 or more")
    return options


def _check_known(argument: str, name: str) -> None:
    if name in REFUSED and argument.startswith("--"):
        raise RequestError(f"exec: --{name} is not supported: {REFUSED[name]}")
    if not argument.startswith("--") or name not in OPTIONS:
        raise RequestError(f"exec: unknown option {argument!r}; options are trtexec's, such as --onnx=model.onnx")


def _missing(name: str) -> Any:
    raise RequestError(f"exec: --{name} needs a value, as in --{name}=...")


def described(options: Execution) -> list[str]:
    """The option dump, section by section."""
    lines: list[str] = []
    for title, fields in SECTIONS:
        lines += [f"=== {title} ===", *[f"{name}: {_shown(getattr(options, name))}" for name in fields]]
    return lines


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ",".join(f"{x:g}" for x in value)  # pyright: ignore[reportUnknownVariableType]
    return "Disabled" if value == "" or value is False else "Enabled" if value is True else value
