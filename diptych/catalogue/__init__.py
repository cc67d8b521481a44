"""The survey of unified models (arXiv 2505.02567) as data: what there is, what is published, what runs here.

```python
from diptych.catalogue import load

catalogue = load()
[model.name for model in catalogue.models if model.encoding == "hybrid-pseudo"]
```

Nothing here needs torch.
"""

from diptych.catalogue.catalogue import Catalogue, load

__all__ = ["Catalogue", "load"]
