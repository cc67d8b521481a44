"""A network from memory: what servers answered, by address."""

from pathlib import Path

from diptych.catalogue.updating.fetching import Answer
from diptych.errors import NetworkError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "catalogue"
ARXIV = "https://export.arxiv.org/api/query?id_list={}&max_results={}"
GITHUB = "https://api.github.com/repos/{}"
MODELS = "https://huggingface.co/api/models/{}"
DATASETS = "https://huggingface.co/api/datasets/{}"
NAMING = "https://huggingface.co/api/models?filter=arxiv:{}&limit=100"
NAMING_OF = "https://huggingface.co/api/models?filter=arxiv:{}&author={}&limit=100"


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


class Recorded:
    """Answers what it was given, and remembers what it was asked. An address it does not know is a fault of the test,
    unless `otherwise` says what all others answer."""

    def __init__(self, pages: dict[str, bytes | int], otherwise: Answer | None = None) -> None:
        self.pages, self.otherwise = pages, otherwise
        self.asked: list[tuple[str, str]] = []

    def __call__(self, url: str, method: str = "GET") -> Answer:
        self.asked.append((url, method))
        if url not in self.pages and self.otherwise:
            return self.otherwise
        said = self.pages[url]
        return Answer(said, url) if isinstance(said, int) else Answer(200, url, said)


def offline(url: str, method: str = "GET") -> Answer:
    raise NetworkError("nothing can be reached; is the network there?")
