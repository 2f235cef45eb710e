"""Every error this project raises on purpose.

    AdaFVError
    ├── InputError (also ValueError)       what a caller passed is wrong
    │   ├── BudgetError                    budget or keep ratio out of range, too many forced tokens
    │   ├── ScoreError                     scores that are NaN, infinite, or of the wrong shape
    │   ├── PromptError                    no prompt, or one the tokenizer cannot place
    │   ├── ImageError                     no image, an unreadable one, or too large a one
    │   └── UnknownNameError               a method, option or model family that does not exist
    └── ModelError (also RuntimeError)     a model cannot be loaded or run
        ├── ModelNotFoundError             no such id, folder, file or revision, or no network to fetch it
        ├── UnsupportedModelError          it exists, but its class has no adapter here
        ├── OutOfMemoryError               the device ran out of memory; its tensors were freed
        └── StoppedError                   the caller's stop signal came before the run began

Each message says what was expected, what was passed, and what would work.
"""


class AdaFVError(Exception):
    """Base of all errors raised on purpose by this project."""


class InputError(AdaFVError, ValueError):
    """What a caller passed cannot be used; the message says what can."""


class BudgetError(InputError):
    """A budget outside 1..N, a keep ratio outside (0, 1], or more forced tokens than the budget."""


class ScoreError(InputError):
    """Scores that are not finite, or not of the expected shape."""


class PromptError(InputError):
    """An empty prompt, or one that cannot be placed in the model's template."""


class ImageError(InputError):
    """A missing, unreadable or oversized image, or several where one is expected."""


class UnknownNameError(InputError):
    """A name that is not in a registry; the message lists the valid names."""


class ModelError(AdaFVError, RuntimeError):
    """A model could not be loaded or run."""


class ModelNotFoundError(ModelError):
    """No such model id, folder, file or revision, or no network to fetch it with."""


class UnsupportedModelError(ModelError):
    """The model exists, but no adapter here knows its class."""


class OutOfMemoryError(ModelError):
    """The device ran out of memory; what was allocated for the request has been freed."""


class StoppedError(ModelError):
    """The caller's stop signal was set before the run began, so there is no answer, not even a part of one."""
