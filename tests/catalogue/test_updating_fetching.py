"""Pages from a server on this machine: limits, refusals, redirections, tokens; and how a polite fetch asks."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from diptych.catalogue.updating import fetching
from diptych.catalogue.updating.fetching import Answer, Polite, fetch
from diptych.errors import NetworkError


class Pages(BaseHTTPRequestHandler):
    """What the test server has."""

    seen: list[tuple[str, str, str | None]] = []
    end = threading.Event()

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, head: bool) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization")))
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.end.wait(0.02):
                self.wfile.write(b".")
            return
        status, headers, body = {
            "/page": (200, {}, b'{"a": 1}'),
            "/away": (301, {"Location": "/page"}, b""),
            "/outside": (302, {"Location": "file:///etc/hostname"}, b""),
            "/no-head": (405 if head else 200, {}, b"x" * 100),
            "/large": (200, {}, b"x" * 3000),
            "/later": (403, {"x-ratelimit-remaining": "0"}, b""),
            "/forbidden": (403, {}, b""),
        }.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server():
    Pages.seen.clear()
    Pages.end.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    Pages.end.set()
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_a_page_and_where_it_was_found(server):
    assert fetch(f"{server}/page").json() == {"a": 1}
    assert fetch(f"{server}/away")[:2] == (200, f"{server}/page")


def test_failure_is_an_answer(server):
    assert fetch(f"{server}/nothing").status == 404
    assert not fetch(f"{server}/forbidden").limited
    assert fetch(f"{server}/later").limited


def test_a_head_that_is_refused_is_asked_again(server):
    assert fetch(f"{server}/page", "HEAD") == Answer(200, f"{server}/page")
    assert fetch(f"{server}/no-head", "HEAD", limit=10) == Answer(200, f"{server}/no-head")
    assert fetch(f"{server}/nothing", "HEAD").status == 404
    assert [method for method, path, _ in Pages.seen if path == "/no-head"] == ["HEAD", "GET"]


def test_too_large_and_too_slow(server):
    with pytest.raises(NetworkError, match="answered with more than"):
        fetch(f"{server}/large", limit=1000)
    with pytest.raises(NetworkError, match="did not finish its answer in time"):
        fetch(f"{server}/drip", timeout=0.3)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/", "page", "http://127.0.0.1:1/", "http://["])
def test_what_cannot_be_asked(url):
    with pytest.raises(NetworkError):
        fetch(url)


def test_no_redirection_leaves_the_web(server):
    assert fetch(f"{server}/outside")[:3] == (302, "file:///etc/hostname", b"")


def test_a_token_goes_to_github_alone(server, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    fetch(f"{server}/page")
    assert Pages.seen[-1][2] is None
    monkeypatch.setattr(fetching, "GITHUB_API", server)
    fetch(f"{server}/away")
    assert [(path, token) for _, path, token in Pages.seen[-2:]] == [("/away", "Bearer secret"), ("/page", None)]


def test_what_is_not_json():
    with pytest.raises(NetworkError, match="example.org answered with something that is not JSON"):
        Answer(200, "https://example.org/a", b"<html>").json()


class Clock:
    """A time that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def polite(inside):
    clock = Clock()
    return Polite(inside, 0.5, lambda: clock.now, clock.sleep), clock


def test_a_host_is_asked_with_pauses_and_arxiv_as_its_terms_say():
    asks, clock = polite(lambda url, method: Answer(200, url))
    for url in ("https://a.org/1", "https://b.org/1", "https://a.org/2", "https://a.org/3"):
        asks(url)
    assert clock.slept == [0.5, 0.5]
    asks("https://export.arxiv.org/1")
    asks("https://export.arxiv.org/2")
    assert clock.slept[2:] == [3.0]


def test_a_question_is_asked_once():
    asked = []
    asks, _ = polite(lambda url, method: asked.append((url, method)) or Answer(200, url, b"x"))
    assert asks("https://a.org/1") is asks("https://a.org/1")
    asks("https://a.org/1", "HEAD")
    assert asked == [("https://a.org/1", "GET"), ("https://a.org/1", "HEAD")]


def test_one_question_of_many_threads_is_asked_once():
    asked = []

    def slow(url, method):
        asked.append(url)
        time.sleep(0.02)
        return Answer(200, url)

    asks, _ = polite(slow)
    threads = [threading.Thread(target=asks, args=("https://a.org/1",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["https://a.org/1"]


def test_a_host_that_wants_to_be_left_alone_is():
    asked = []
    asks, _ = polite(lambda url, method: asked.append(url) or Answer(429, url, limited="github" in url))
    for place in ("1", "2"):
        with pytest.raises(NetworkError, match="api.github.com wants to be asked less often.*GITHUB_TOKEN set"):
            asks(f"https://api.github.com/{place}")
    assert asks("https://a.org/1").status == 429
    assert asked == ["https://api.github.com/1", "https://a.org/1"]


def test_a_failure_is_remembered_too():
    asked = []

    def down(url, method):
        asked.append(url)
        raise NetworkError("down")

    asks, _ = polite(down)
    for _ in range(2):
        with pytest.raises(NetworkError, match="down"):
            asks("https://a.org/1")
    assert asked == ["https://a.org/1"]
