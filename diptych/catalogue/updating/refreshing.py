"""What changed at the sources since the records were written: links that are dead, names, licences, new weights."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from diptych.catalogue.addresses import GITHUB, HUB, address
from diptych.catalogue.catalogue import plain
from diptych.catalogue.columns import table_of
from diptych.catalogue.records import Application, Benchmark, Dataset, Entry, Model
from diptych.catalogue.updating import arxiv, github, hub
from diptych.catalogue.updating.fetching import Answer, Fetch
from diptych.errors import NetworkError

AT_ONCE = 8  # records whose sources are asked at the same time
DEAD = (404, 410)


@dataclass(frozen=True)
class Finding:
    """What a source says of a record. kind: gone, moved, licence, weights, archived, paper, or unchecked, where it did
    not say anything."""

    table: str
    id: str
    kind: str
    said: str


@dataclass
class Report:
    """All findings, in the records' order, and the changes that follow from them: by table and id, a value a field.

    records: that were checked; answers: that sources gave.
    """

    records: int = 0
    answers: int = 0
    findings: list[Finding] = field(default_factory=list)
    changes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


@dataclass
class Check:
    """One record at its sources."""

    record: Entry
    fetch: Fetch
    findings: list[Finding] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)

    def say(self, kind: str, said: str, **changes: Any) -> None:
        self.findings.append(Finding(table_of(self.record), self.record.id, kind, said))
        self.changes |= changes

    def run(self, part: Callable[["Check"], None]) -> None:
        """One part of the check; what a source fails to answer is a finding, too."""
        try:
            part(self)
        except NetworkError as error:
            self.say("unchecked", str(error))


def refresh(records: Sequence[Entry], fetch: Fetch, sources: bool = False) -> Report:
    """Asks the sources of records: arXiv, GitHub, the hub, and the pages that they name; sources: also those that facts
    were taken from.

    Raises NetworkError where no source answers at all.
    """
    heard: list[str] = []

    def listening(url: str, method: str) -> Answer:
        answer = fetch(url, method)
        heard.append(url)
        return answer

    checks = [Check(record, listening) for record in records]
    known = _papers(checks, listening)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda check: _check(check, known, sources), checks))
    report = Report(len(records), len(heard))
    for check in checks:
        report.findings += check.findings
        if check.changes:
            report.changes[table_of(check.record), check.record.id] = check.changes
    if report.findings and not heard:
        raise NetworkError(report.findings[0].said)
    return report


def _check(check: Check, known: dict[str, arxiv.Paper] | None, sources: bool) -> None:
    if known is not None:
        check.run(lambda one: _paper(one, known))
    for part in PARTS[type(check.record)]:
        check.run(part)
    for source in check.record.sources if sources else ():
        if page := address(source):
            check.run(lambda one, page=page: _link(one, page, "source"))


def _papers(checks: Sequence[Check], fetch: Fetch) -> dict[str, arxiv.Paper] | None:
    """All papers in few questions; None, and a finding, where arXiv does not answer."""
    ids = [check.record.arxiv for check in checks if check.record.arxiv]
    try:
        return arxiv.papers(ids, fetch)
    except NetworkError as error:
        checks[0].say("unchecked", str(error))
        return None


def _paper(check: Check, known: dict[str, arxiv.Paper]) -> None:
    if not check.record.arxiv:
        return
    paper = known.get(check.record.arxiv)
    if paper is None:
        check.say("gone", f"arXiv has no paper {check.record.arxiv}")
    elif paper.journal and not check.record.venue:
        check.say("paper", f"arXiv has a journal reference, and the record no venue: {paper.journal}")


def _code(check: Check) -> None:
    record = check.record
    assert isinstance(record, Model | Benchmark | Application)
    if not record.code:
        return
    found = github.repository(record.code, check.fetch)
    if found is None:
        check.say("gone", f"GitHub has no {record.code}, or it is private", code=None)
        return
    if found.name.casefold() != record.code.casefold():
        check.say("moved", f"{record.code} is {found.name} now", code=found.name)
    if found.archived:
        check.say("archived", f"{found.name} is read-only now")
    if not isinstance(record, Benchmark):
        _licence(check, "licence_code", record.licence_code, {found.licence})
    if isinstance(record, Model | Benchmark) and record.code_path:
        _link(check, f"{GITHUB}/{found.name}/tree/HEAD/{record.code_path}", "folder", code_path=None)


def _weights(check: Check) -> None:
    record = check.record
    assert isinstance(record, Model | Application)
    weights, licences = list(record.weights), set()
    for place, name in enumerate(record.weights):
        found = hub.repository(name, check.fetch)
        if found is None:
            check.say("gone", f"the hub has no {name}, or it is private")
        elif found.id != name:
            check.say("moved", f"{name} is {found.id} now")
        weights[place] = found.id if found else ""
        licences |= {found.licence} if found else set()
    weights += _new_weights(check, {*record.weights, *weights})
    kept = list(dict.fromkeys(filter(None, weights)))
    if kept != list(record.weights):
        check.changes["weights"] = kept
    if isinstance(record, Model):
        _licence(check, "licence_weights", record.licence_weights, licences)


def _new_weights(check: Check, known: set[str]) -> Iterator[str]:
    """Weights of the same owners that name the same paper; of a model without weights whatever names its paper is
    said, but not taken over, for anyone may name it."""
    record = check.record
    assert isinstance(record, Model | Application)
    if not record.arxiv:
        return
    owners = dict.fromkeys(name.partition("/")[0] for name in record.weights)
    for owner in owners:
        for one in hub.naming(record.arxiv, check.fetch, owner):
            if one.id not in known:
                check.say("weights", f"new on the hub: {one.id}" + (f", {one.date}" if one.date else ""))
                yield one.id
    if not owners and (named := [one.id for one in hub.naming(record.arxiv, check.fetch)]):
        check.say("weights", f"on the hub these name the paper; are they the authors'? {', '.join(named[:8])}")


def _dataset(check: Check) -> None:
    record = check.record
    assert isinstance(record, Dataset)
    if not record.hub_id:
        return
    found = hub.repository(record.hub_id, check.fetch, "datasets")
    if found is None:
        check.say("gone", f"the hub has no {record.hub_id}, or it is private", hub_id=None)
        return
    if found.id != record.hub_id:
        check.say("moved", f"{record.hub_id} is {found.id} now", hub_id=found.id)
    _licence(check, "licence", record.licence, {found.licence})


def _licence(check: Check, field: str, recorded: str | None, said: set[str | None]) -> None:
    """Compares a licence. A person's words about one (`MIT (variant M)`) are never changed, nor is one that has no SPDX
    id put in, for it may be the family of a licence only."""
    named = sorted(filter(None, said))
    if all(_told(one, recorded) for one in named):
        return
    ids = hub.SPDX.values()
    sure = len(said) == 1 and named[0] in ids and (recorded is None or recorded in ids)
    told = f"{field.replace('_', ' of ')} is {recorded or 'unknown'} here, {' and '.join(named)} at the source"
    check.say("licence", told, **({field: named[0]} if sure else {}))


def _told(licence: str, recorded: str | None) -> bool:
    """Whether a person's words name a licence: as a word, or as the hub writes it (`llama2`, Llama 2 license)."""
    words = re.split(r"[\s;,()]+", (recorded or "").casefold())
    return licence.casefold() in words or (len(licence) > 4 and plain(licence) in plain(recorded or ""))


def _demo(check: Check) -> None:
    assert isinstance(check.record, Model)
    if check.record.demo:
        _link(check, check.record.demo, "demo", demo=None)


def _url(check: Check) -> None:
    assert isinstance(check.record, Dataset)
    if check.record.url:
        _link(check, check.record.url, "page", url=None)


def _data(check: Check) -> None:
    assert isinstance(check.record, Benchmark | Application)
    for page in filter(None, map(address, check.record.data)):
        _link(check, page, "data")


def _link(check: Check, page: str, what: str, **changes: Any) -> None:
    """Whether a page is there. Raises NetworkError where that cannot be told."""
    answer = check.fetch(page, "HEAD")
    if answer.status in DEAD or (page.startswith(HUB) and answer.status in hub.GONE):
        check.say("gone", f"{what} {page} answers with status {answer.status}", **changes)
    elif answer.status >= 400:
        check.say("unchecked", f"{what} {page} answers with status {answer.status}")


PARTS: dict[type[Entry], tuple[Callable[[Check], None], ...]] = {
    Model: (_code, _weights, _demo),
    Benchmark: (_code, _data),
    Dataset: (_dataset, _url),
    Application: (_code, _weights, _data),
}
