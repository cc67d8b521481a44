"""Diptych: unified multimodal models, which read and write images, in one library.

```python
import diptych

model = diptych.load("janus-emoji")
model.generate("a red circle above a blue square")[0].save("picture.png")
print(model.chat(["What is this?", diptych.Image.open("picture.png")]).text)
```

Names are resolved on first use, so that importing the package costs nothing: no torch, no model code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych import models
    from diptych.models import load
    from diptych.types import Image, Reply, Request, Text, Turn

__version__ = "0.1.0"
__all__ = ["Image", "Reply", "Request", "Text", "Turn", "load", "models"]

_HOMES = {
    "load": "diptych.models",
    "Image": "diptych.types",
    "Reply": "diptych.types",
    "Request": "diptych.types",
    "Text": "diptych.types",
    "Turn": "diptych.types",
}


def __getattr__(name: str) -> Any:
    if name == "models":
        return import_module("diptych.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'diptych' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
