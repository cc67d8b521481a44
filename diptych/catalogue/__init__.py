"""The survey of unified models (arXiv 2505.02567) as data: what there is, what is published, what runs here.

```python
from diptych.catalogue import load

catalogue = load()
[model.name for model in catalogue.models if model.encoding == "hybrid-pseudo"]
```

Nothing here needs torch. Names are resolved on first use, so that `terms` costs nothing but itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.catalogue.catalogue import Catalogue, load

__all__ = ["Catalogue", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'diptych.catalogue' has no attribute {name!r}")
    from diptych.catalogue import catalogue

    return getattr(catalogue, name)
