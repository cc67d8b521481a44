"""The catalogue as a site: files that need no server and no network, in English and Chinese.

`index.html` leads into `en/` and `zh/`, which hold the same pages; `site.json` says which files are the site's own.
The same catalogue, code and runs give the same bytes.
"""

from diptych.catalogue.site.building import Built, build

__all__ = ["Built", "build"]
