"""GitHub's API (https://docs.github.com/rest/repos): repositories."""

import re
from typing import NamedTuple

from diptych.catalogue.updating.fetching import GITHUB_API, Fetch
from diptych.errors import NetworkError

GONE = (404, 410, 451)  # not there or private; closed; taken down
# Owners have no dots and no underscores; what is no repository's name (`owner/name.git`, a full stop) is taken off.
ADDRESS = re.compile(r"https?://(?:www\.)?github\.com/([A-Za-z0-9-]+)/([\w.-]+)((?:/(?:tree|blob)/[^\s)\]>\"'?#]*)?)")


class Repository(NamedTuple):
    """What GitHub says of a repository. licence: an SPDX id, where GitHub recognised one; archived: read-only now."""

    name: str
    licence: str | None
    archived: bool


def repository(name: str, fetch: Fetch) -> Repository | None:
    """A repository (`owner/name`); None where there is none that can be seen. Raises NetworkError.

    One that was renamed or moved is found under its new name.
    """
    answer = fetch(f"{GITHUB_API}/repos/{name}", "GET")
    if answer.status in GONE:
        return None
    said = answer.json() if answer.status == 200 else None
    if not isinstance(said, dict) or not isinstance(said.get("full_name"), str):
        raise NetworkError(f"GitHub answered with status {answer.status}; try again later")
    licence = said.get("license")
    named = licence.get("spdx_id") if isinstance(licence, dict) else None
    return Repository(said["full_name"], None if named == "NOASSERTION" else named, said.get("archived") is True)


def named_in(text: str) -> list[tuple[str, str | None]]:
    """The repositories whose addresses stand in a text, each once: (owner/name, path within it or None)."""
    found: dict[str, str | None] = {}
    for owner, name, place in ADDRESS.findall(text):
        repository = f"{owner}/{name.rstrip('.').removesuffix('.git')}"
        path = place.strip("/").split("/", 2)  # tree, a branch, the path
        found.setdefault(repository, path[2].rstrip("/.,;:") if len(path) == 3 and path[2] else None)
    return list(found.items())
