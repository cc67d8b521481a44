"""A first draft of a record, from what arXiv, the hub and GitHub say; what they do not say stays unknown."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from diptych.catalogue.addresses import ARXIV, GITHUB, HUB
from diptych.catalogue.catalogue import KINDS, Catalogue
from diptych.catalogue.reading import rules
from diptych.catalogue.updating import arxiv, github, hub
from diptych.catalogue.updating.fetching import Fetch
from diptych.catalogue.updating.lines import Table, blank
from diptych.errors import InputError, NetworkError

HUB_PAGE = re.compile(r"/(?P<datasets>datasets/)?(?P<id>(?!spaces/|papers/|collections/|datasets/)[\w.-]+/[\w.-]+)")
NAME = re.compile(r"(\S+): \S")  # a title that begins with one word and a colon says what the thing is called
FORMS = "an arXiv id such as 2501.17811, or an address on arxiv.org, huggingface.co or github.com"


@dataclass
class Draft:
    """A record to be completed. remarks: what else was found, for a person to decide on."""

    table: str
    record: Table
    remarks: list[str] = field(default_factory=list)

    @property
    def needed(self) -> list[str]:
        """The fields that are unknown and without which this is no record yet."""
        known = rules(KINDS[self.table])
        return [name for name in self.unknown if not (known[name].optional or known[name].many)]

    @property
    def unknown(self) -> list[str]:
        """All fields that neither source says."""
        return [name for name, value in self.record.items() if value in (None, [])]


def draft(source: str, fetch: Fetch, catalogue: Catalogue, table: str = "", name: str = "") -> Draft:
    """A draft from an arXiv id or an address. table: models unless the address is of a data set; name: what it is
    called, where that is known better.

    Raises InputError for what is neither or is in the catalogue already, NetworkError where a source does not answer.
    """
    paper, repository, code = _where(source)
    kind = table or ("datasets" if repository and repository[0] == "datasets" else "models")
    made = Draft(kind, blank(kind))
    if repository:
        _refuse_known(repository[1], kind, catalogue)
        paper = _from_hub(made, *repository, fetch)
    if paper:
        _refuse_known(paper, kind, catalogue)
        code = _from_arxiv(made, paper, fetch) or code
    if code and "code" in made.record:
        _from_github(made, code, fetch)
    _name(made, name, repository[1] if repository else code)
    if paper and kind == "models" and not repository:
        _point_at_weights(made, paper, fetch)
    made.record["in_survey"] = False  # what is drafted is not from the survey's list
    return made


def _where(source: str) -> tuple[str | None, tuple[str, str] | None, str | None]:
    """What a source names: a paper, a repository on the hub (kind, id), or one on GitHub."""
    text = source.strip()
    try:
        place = urlsplit(text if "//" in text else f"https://{text}")
    except ValueError:  # half an IPv6 address
        place = urlsplit("")
    host = place.netloc.casefold().removeprefix("www.").removeprefix("export.")
    if known := arxiv.ID.fullmatch(text.removeprefix("arXiv:").removeprefix("arxiv:")):
        return known[1], None, None
    if (host == "arxiv.org" or place.path.startswith("/papers/")) and (known := arxiv.ID.search(place.path)):
        return known[1], None, None
    if host in ("huggingface.co", "hf.co") and (page := HUB_PAGE.match(place.path)):
        return None, ("datasets" if page["datasets"] else "models", page["id"]), None
    if host == "github.com" and (named := github.named_in(f"{GITHUB}{place.path}")):
        return None, None, named[0][0]
    raise InputError(f"{source!r} is none of these: {FORMS}")


def _refuse_known(what: str, table: str, catalogue: Catalogue) -> None:
    """Raises InputError for a paper, weights or a data set that a record of the table has."""
    for record in catalogue.table(table):
        if what in (record.arxiv, getattr(record, "hub_id", None), *getattr(record, "weights", ())):
            raise InputError(f"{what} is in the catalogue already: diptych survey show {table}/{record.id}")


def _from_arxiv(made: Draft, paper: str, fetch: Fetch) -> str | None:
    """Fills in what a paper says of itself; the repository that its summary or comment names, where it is one."""
    found = arxiv.papers([paper], fetch).get(paper)
    if not found:
        raise InputError(f"arXiv has no paper {paper}; is the id right?")
    made.record |= {"title": found.title, "arxiv": paper, "date": found.date, "date_precision": "day"}
    made.record["sources"].append(f"{ARXIV}/{paper}")
    for about, said in (("comment", found.comment), ("journal reference", found.journal)):
        if said:
            made.remarks.append(f"arXiv has the {about} {said!r}; does it name a venue?")
    repositories = [name for name, _ in github.named_in(f"{found.summary} {found.comment or ''}")]
    if len(repositories) > 1:
        made.remarks.append(f"the paper names several repositories: {', '.join(repositories)}; which is its code?")
    return repositories[0] if len(repositories) == 1 else None


def _from_hub(made: Draft, kind: str, name: str, fetch: Fetch) -> str | None:
    """Fills in what the hub says; the paper that the card names, where it is one."""
    found = hub.repository(name, fetch, kind)
    if not found:
        raise InputError(f"the hub has no {name}, or it is private; is the address right?")
    address = f"{HUB}/{'datasets/' if kind == 'datasets' else ''}{found.id}"
    own = {"hub_id": found.id, "url": address, "licence": found.licence}
    own |= {"weights": [found.id], "licence_weights": found.licence}
    fits = ("hub_id", "url", "licence") if kind == "datasets" else ("weights", "licence_weights")
    made.record |= {field: own[field] for field in fits if field in made.record}
    made.record["sources"].append(address)
    if len(found.papers) > 1:
        made.remarks.append(f"the card names several papers: {', '.join(found.papers)}; draft from the right one")
    return found.papers[0] if len(found.papers) == 1 else None


def _from_github(made: Draft, name: str, fetch: Fetch) -> None:
    found = github.repository(name, fetch)
    if not found:
        made.remarks.append(f"GitHub has no {name}, or it is private")
        return
    made.record["code"] = found.name
    if "licence_code" in made.record:
        made.record["licence_code"] = found.licence
    made.record["sources"].append(f"{GITHUB}/{found.name}")


def _name(made: Draft, given: str, repository: str | None) -> None:
    """The name as given, as the title begins with it, or as the repository is called; and the id that follows."""
    titled = NAME.match(made.record["title"] or "")
    name = given or (titled[1] if titled else "") or (repository or "").rpartition("/")[2]
    if name and not given:
        made.remarks.append(f"{name!r} is what the {'title begins with' if titled else 'repository is called'}")
    made.record["name"] = name or None
    made.record["id"] = re.sub(r"[^a-z0-9]+", "-", name.casefold().replace("+", "-plus")).strip("-") or None


def _point_at_weights(made: Draft, paper: str, fetch: Fetch) -> None:
    """Says which models name the paper: whose they are, authors' or others', the hub does not say."""
    try:
        named = [one.id for one in hub.naming(paper, fetch)]
    except NetworkError as error:
        made.remarks.append(f"not asked for weights: {error}")
        return
    if named:
        made.remarks.append(f"models on the hub that name the paper: {', '.join(named[:8])}; which are the authors'?")
