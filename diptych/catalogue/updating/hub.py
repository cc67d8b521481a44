"""The hub's API (https://huggingface.co/docs/hub/api): models and data sets, by id, paper and owner."""

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from diptych.catalogue.addresses import HUB
from diptych.catalogue.updating.fetching import Fetch
from diptych.errors import NetworkError

API = f"{HUB}/api"
GONE = (401, 404)  # 401: the hub does not tell those that are not there from private ones
# SPDX ids of what the hub's cards call the same in small letters. A family of licences (`cc`, `llama2`) has none.
_IDS = """
Apache-2.0 MIT BSD-2-Clause BSD-3-Clause GPL-2.0 GPL-3.0 AGPL-3.0 LGPL-3.0 MPL-2.0 AFL-3.0 Unlicense WTFPL
CC0-1.0 CC-BY-2.0 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-ND-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0
CC-BY-NC-ND-4.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Permissive-2.0 ODC-By-1.0 ODbL-1.0
"""
SPDX = {name.lower(): name for name in _IDS.split()}


class Repository(NamedTuple):
    """What the hub says of a model or data set. licence: an SPDX id where one fits; date: made, YYYY-MM-DD."""

    id: str
    licence: str | None
    papers: tuple[str, ...]
    date: str | None


def repository(name: str, fetch: Fetch, kind: str = "models") -> Repository | None:
    """A model, or of kind `datasets` a data set; None where there is none that can be seen. Raises NetworkError.

    One that was renamed is found under its new name, which `id` then has.
    """
    answer = fetch(f"{API}/{kind}/{quote(name)}", "GET")
    if answer.status in GONE:
        return None
    if answer.status != 200:
        raise NetworkError(f"the hub answered with status {answer.status}; try again later")
    return _repository(answer.json())


def naming(paper: str, fetch: Fetch, owner: str = "") -> list[Repository]:
    """The models whose cards name a paper (YYMM.NNNNN), of one owner or of anyone, the oldest first.

    Raises NetworkError.
    """
    author = f"&author={quote(owner)}" if owner else ""
    answer = fetch(f"{API}/models?filter=arxiv:{paper}{author}&limit=100", "GET")
    listed = answer.json() if answer.status == 200 else None
    if not isinstance(listed, list):
        raise NetworkError(f"the hub answered with status {answer.status}; try again later")
    return sorted(map(_repository, listed), key=lambda one: (one.date or "", one.id))


def _repository(said: Any) -> Repository:
    if not isinstance(said, dict) or not isinstance(said.get("id"), str):
        raise NetworkError("the hub answered with something that describes no repository")
    tags = [tag for tag in said.get("tags") or () if isinstance(tag, str)]
    papers = [tag.removeprefix("arxiv:") for tag in tags if re.fullmatch(r"arxiv:\d{4}\.\d{5}", tag)]
    return Repository(said["id"], _licence(said, tags), tuple(papers), (said.get("createdAt") or "")[:10] or None)


def _licence(said: dict[str, Any], tags: list[str]) -> str | None:
    named = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
    if named == "other":  # the card has a name of its own, or nothing that can be said
        card = said.get("cardData")
        own = card.get("license_name") if isinstance(card, dict) else None
        return own if isinstance(own, str) and own.strip() == own and own else None
    return SPDX.get(named, named) if named and named != "unknown" else None
