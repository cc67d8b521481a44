"""The four tables together, and names in them."""

import difflib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from diptych.catalogue.reading import read
from diptych.catalogue.records import Application, Benchmark, Dataset, Entry, Model
from diptych.errors import InputError

DATA = Path(__file__).parent / "data"
KINDS: dict[str, type[Entry]] = {
    "models": Model,
    "benchmarks": Benchmark,
    "datasets": Dataset,
    "applications": Application,
}


class Found(NamedTuple):
    """A record and the table it stands in."""

    table: str
    record: Entry


@dataclass(frozen=True)
class Catalogue:
    """All records, by table, each in order of date."""

    models: tuple[Model, ...]
    benchmarks: tuple[Benchmark, ...]
    datasets: tuple[Dataset, ...]
    applications: tuple[Application, ...]

    def table(self, name: str) -> tuple[Entry, ...]:
        """The records of models, benchmarks, datasets or applications."""
        return getattr(self, name)

    def find(self, name: str) -> list[Found]:
        """The records of that name or id, whatever its case; spaces and hyphens do not matter unless they tell two
        apart. A name may stand in several tables: `datasets/anyedit` is the one in `datasets`.

        Raises InputError that says which names are close.
        """
        where, slash, rest = name.partition("/")
        everything = list(self._all())
        if slash and where in KINDS:
            name, everything = rest, [found for found in everything if found.table == where]
        for same in (str.casefold, plain):
            wanted = same(name)
            hits = [found for found in everything if wanted in (same(found.record.name), same(found.record.id))]
            if hits and wanted:
                return hits
        raise InputError(f"nothing in the catalogue is called {name!r}{self._hint(name, everything)}")

    def model(self, name: str) -> Model:
        """The model of that name or id. Raises InputError as `find` does."""
        hits = self.find(name if name.startswith("models/") else f"models/{name}")
        record = next((found.record for found in hits if found.record.id == name), hits[0].record)
        assert isinstance(record, Model)
        return record

    def _all(self) -> list[Found]:
        return [Found(field.name, record) for field in fields(self) for record in self.table(field.name)]

    def _hint(self, name: str, among: list[Found]) -> str:
        names = {plain(one): found.record.name for found in among for one in (found.record.id, found.record.name)}
        wanted = plain(name)
        begun = [names[one] for one in names if wanted and one.startswith(wanted)]
        close = [names[one] for one in difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)]
        close = list(dict.fromkeys([*close, *begun]))[:3]
        if close:
            return f"; did you mean {' or '.join(close)}?"
        return "; look for it with: diptych survey models --search WORDS"


def plain(text: str) -> str:
    """Letters and digits alone, so that Janus-Pro, janus pro and JanusPro are one."""
    return re.sub(r"[\W_]+", "", text.casefold())


def load(folder: Path = DATA) -> Catalogue:
    """The catalogue in a folder, by default the package's own. Raises CatalogueError with all faults."""
    return Catalogue(*(read(folder / f"{name}.jsonl", kind) for name, kind in KINDS.items()))  # type: ignore[arg-type]
