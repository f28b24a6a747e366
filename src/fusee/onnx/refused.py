"""ONNX ops that Fusee does not import, each with the reason and what to do instead."""

from __future__ import annotations

_SEQUENCE = "sequences of tensors are not supported; export with fixed numbers of tensors (Split, Concat, Loop)"
_OPTIONAL = "optional values are not supported; export one model with the value and one without it"
_STRING = "strings are not supported; do text processing before the model"
_TRAINING = "training is not supported; export the model for inference"
_TREES = "classical machine learning on tables is not supported; run it in the library that trained it"

REFUSED: dict[str, str] = {
    "SequenceAt": _SEQUENCE,
    "SequenceConstruct": _SEQUENCE,
    "SequenceEmpty": _SEQUENCE,
    "SequenceErase": _SEQUENCE,
    "SequenceInsert": _SEQUENCE,
    "SequenceLength": _SEQUENCE,
    "SequenceMap": _SEQUENCE,
    "SplitToSequence": _SEQUENCE,
    "ConcatFromSequence": _SEQUENCE,
    "Optional": _OPTIONAL,
    "OptionalGetElement": _OPTIONAL,
    "OptionalHasElement": _OPTIONAL,
    "RegexFullMatch": _STRING,
    "StringConcat": _STRING,
    "StringNormalizer": _STRING,
    "StringSplit": _STRING,
    "TfIdfVectorizer": _STRING,
    "LabelEncoder": _STRING,
    "CategoryMapper": _STRING,
    "CastMap": "maps are not supported; give the values as tensors",
    "DictVectorizer": "maps are not supported; give the values as tensors",
    "ZipMap": "maps are not supported; take the tensor of scores that goes into it as the output",
    "ImageDecoder": "compressed images are not decoded in the model; decode them before it",
    "Gradient": _TRAINING,
    "Adagrad": _TRAINING,
    "Adam": _TRAINING,
    "Momentum": _TRAINING,
    "Binarizer": _TREES,
    "FeatureVectorizer": _TREES,
    "Imputer": _TREES,
    "LinearClassifier": _TREES,
    "LinearRegressor": _TREES,
    "Normalizer": _TREES,
    "OneHotEncoder": _TREES,
    "Scaler": _TREES,
    "SVMClassifier": _TREES,
    "SVMRegressor": _TREES,
    "TreeEnsemble": _TREES,
    "TreeEnsembleClassifier": _TREES,
    "TreeEnsembleRegressor": _TREES,
}
