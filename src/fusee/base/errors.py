"""Every error Fusee raises.

FuseeError
├── ModelError            the model is wrong or asks for what Fusee lacks: its author can act
│   ├── UnsupportedModel  well-formed, but uses things Fusee does not do; all of them are listed
│   ├── ShapeError        operand types disagree
│   └── ParseError        text or bytes that do not parse
├── RequestError          the caller's tensors, names or options are wrong
├── EngineError           an engine file is damaged, of another version, or made for another machine
├── VerifyError           a built engine does not compute what its model says; it is not saved
├── DeviceError           the machine refused: out of memory, no such device
└── InternalError         our bug: an invariant broke; the message names the pass and the dump

Command lines end with exit code 2 for all but InternalError and VerifyError, which end with 1.
"""


class FuseeError(Exception):
    """Base of every error that Fusee raises on purpose."""


class ModelError(FuseeError):
    """The model is wrong, or asks for something Fusee lacks."""


class UnsupportedModel(ModelError):
    """A well-formed model uses things Fusee does not do; the message lists all of them."""


class ShapeError(ModelError):
    """Operand types disagree with each other or with the op."""


class ParseError(ModelError):
    """Text or bytes that do not parse."""


class RequestError(FuseeError):
    """The caller's tensors, names or options are wrong."""


class EngineError(FuseeError):
    """An engine file is damaged, of another version, or made for another machine."""


class VerifyError(FuseeError):
    """A built engine does not compute what its model says."""


class DeviceError(FuseeError):
    """The machine refused: out of memory, or no such device."""


class InternalError(FuseeError):
    """A bug in Fusee: an invariant broke."""
