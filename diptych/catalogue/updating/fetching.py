"""Pages from the network: with a limit of time and size, politely, and exchangeable for recorded ones.

Everything that needs the network takes a `Fetch`; tests hand in one that answers from memory.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import diptych
from diptych.errors import NetworkError

TIMEOUT = 20.0  # seconds a page may take as a whole
LIMIT = 4 << 20  # bytes a page may have
PAUSE = 0.3  # seconds between two questions to a host
PAUSES = {"export.arxiv.org": 3.0}  # as the terms of arXiv's API ask
TOKEN = "GITHUB_TOKEN"  # raises GitHub's limit from 60 questions an hour
GITHUB_API = "https://api.github.com"


class Answer(NamedTuple):
    """What a server said. status: of HTTP; url: where it was found after redirections."""

    status: int
    url: str
    body: bytes = b""
    limited: bool = False  # the server wants to be asked less often

    def json(self) -> Any:
        """The body as JSON. Raises NetworkError for anything else."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NetworkError(f"{urlsplit(self.url).netloc} answered with something that is not JSON") from error


# (address, GET or HEAD) -> answer, of HEAD without a body; raises NetworkError where there is none
Fetch = Callable[[str, str], Answer]


def fetch(url: str, method: str = "GET", *, timeout: float = TIMEOUT, limit: int = LIMIT) -> Answer:
    """One page, or by HEAD only its status; failure is an answer too. timeout: seconds for all of it; limit: bytes of
    its body.

    Raises NetworkError where nothing answers, in time or at all, and where the body is too large.
    """
    host = _host(url)
    end = time.monotonic() + timeout
    try:
        answer = _ask(url, method, timeout, lambda reply: b"" if method == "HEAD" else _read(reply, host, end, limit))
        if method == "HEAD" and answer.status >= 400 and not answer.limited:
            # Many servers refuse HEAD, with whatever status; what they say to GET counts.
            answer = _ask(url, "GET", timeout, lambda reply: b"")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NetworkError(f"{host} cannot be reached ({_why(error)}); is the network there?") from error
    return answer


def _ask(url: str, method: str, timeout: float, body: Callable[[Any], bytes]) -> Answer:
    try:
        with urllib.request.urlopen(_request(url, method), timeout=timeout) as reply:
            return Answer(reply.status, reply.url, body(reply), _limited(reply.status, reply))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.url or url, b"", _limited(error.code, error))


def _host(url: str) -> str:
    try:
        place = urlsplit(url)
    except ValueError:
        place = urlsplit("")
    if place.scheme not in ("http", "https") or not place.netloc:
        raise NetworkError(f"{url!r} is no http or https address")
    return place.netloc


def _request(url: str, method: str) -> urllib.request.Request:
    request = urllib.request.Request(url, method=method)
    request.add_header("User-Agent", f"diptych/{diptych.__version__} (catalogue of unified models)")
    token = os.environ.get(TOKEN)
    if token and url.startswith(f"{GITHUB_API}/"):
        # Ordinary headers follow redirections to other hosts, where a token must not go.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _read(reply: Any, host: str, end: float, limit: int) -> bytes:
    """The body, piece by piece: a socket's own timeout would let a server drip for ever."""
    body = bytearray()
    while piece := reply.read1(1 << 16):
        body += piece
        if len(body) > limit:
            raise NetworkError(f"{host} answered with more than {limit >> 20} MiB")
        if time.monotonic() > end:
            raise NetworkError(f"{host} did not finish its answer in time; try again later")
    return bytes(body)


def _limited(status: int, reply: Any) -> bool:
    return status == 429 or (status == 403 and reply.headers.get("x-ratelimit-remaining") == "0")


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return " ".join(str(getattr(reason, "strerror", None) or reason or type(error).__name__).split()).lower()


@dataclass
class Polite:
    """A fetch that leaves a pause between two questions to a host, asks none a second time, and asks a host that wants
    to be left alone no more. Many threads may use it at once.

    Raises NetworkError like the fetch inside, and for hosts that are left alone.
    """

    inside: Fetch = fetch
    pause: float = PAUSE
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    known: dict[tuple[str, str], Answer | NetworkError] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    _next: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _locks: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))
    _all: Lock = field(default_factory=Lock)

    def __call__(self, url: str, method: str = "GET") -> Answer:
        host = _host(url)
        with self._all:
            own = self._locks[f"{method} {url}"]
        with own:  # the same question, asked by two at once, goes out once
            if (url, method) not in self.known:
                self.known[url, method] = self._ask(url, method, host)
        answer = self.known[url, method]
        if isinstance(answer, NetworkError):
            raise answer
        return answer

    def _ask(self, url: str, method: str, host: str) -> Answer | NetworkError:
        self._wait(host)
        if host in self.alone:
            return NetworkError(f"{host} wants to be asked less often; try again later{_remedy(host)}")
        try:
            answer = self.inside(url, method)
        except NetworkError as error:
            return error
        if answer.limited:
            self.alone.add(host)
            return self._ask(url, method, host)
        return answer

    def _wait(self, host: str) -> None:
        if host in self.alone:
            return
        with self._all:
            now = self.clock()
            start = max(now, self._next[host])
            self._next[host] = start + PAUSES.get(host, self.pause)
        if start > now:
            self.sleep(start - now)


def _remedy(host: str) -> str:
    return f", or with {TOKEN} set" if GITHUB_API.endswith(host) else ""
