"""What can go wrong, as types. Every message says what was wrong and what to do about it, in one line."""


class DiptychError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(DiptychError):
    """A prompt, conversation or option that cannot be used."""


class ImageError(InputError):
    """A picture that cannot be read: missing, not an image, too large, or of an unsupported kind."""


class WeightsError(DiptychError):
    """A checkpoint that is incomplete, damaged, of an unsafe format, or not of the shapes the model has."""


class UnknownModelError(DiptychError):
    """A name that is no built-in model, folder or hub id, or a folder whose family is not recognised."""


class CapabilityError(DiptychError):
    """A request for something this model cannot do, such as a picture from a model that only answers."""


class TrainingError(DiptychError):
    """A recipe, data set or training state that cannot go on, such as a loss that is not finite."""


class CatalogueError(DiptychError):
    """Records of the survey's catalogue that break its schema. `faults` holds each with its file and line."""

    def __init__(self, message: str, faults: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class BenchmarkError(DiptychError):
    """A benchmark that is unknown, or whose files, answers or verdicts are not of its published form."""


class NetworkError(DiptychError):
    """A server that cannot be reached, or whose answer is too late, too large or not of its published form."""
