"""A judge behind a URL, against a small server here: what is sent, retried, kept and refused."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import find as benchmark
from diptych.evaluation.judges import find, openai
from diptych.evaluation.judges.cache import Cache

ITEM = {"questions": {"1": "Is there a dog?"}, "parents": {"1": [0]}, "tuples": {}}
ROW = Row("x", "a dog", (), {"item": ITEM})
YES = (200, {"choices": [{"message": {"content": "yes"}}]}, {})


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Answers with `server.replies` in turn (status, object, headers); notes what it gets in `server.seen`."""
    monkeypatch.setenv("DIPTYCH_JUDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(openai, "PAUSE", 0.0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            running.seen.append((self.path, dict(self.headers), body))
            status, answer, headers = running.replies.pop(0) if len(running.replies) > 1 else running.replies[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.seen, running.replies = [], [YES]
    running.url = f"http://127.0.0.1:{running.server_port}/v1"
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "made.png")
    return tmp_path / "made.png"


def judge(server):
    return find(f"openai:{server.url}#gpt-4o", benchmark("dsg"))


def test_what_is_sent(server, picture, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    assert judge(server).see(ROW, [picture]) == {"1": "yes"}
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret-key"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o", 0.0, 16)
    image, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Is there a dog? Please answer yes or no."}
    kind, data = image["image_url"]["url"].split(";base64,")
    assert kind == "data:image/png" and base64.b64decode(data) == picture.read_bytes()


def test_the_same_question_is_asked_once_and_the_key_is_nowhere(server, picture, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    for _ in range(2):
        assert judge(server).see(ROW, [picture]) == {"1": "yes"}
    assert len(server.seen) == 1
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 1 and "secret-key" not in kept[0].read_text() and "secret-key" not in repr(judge(server))
    Image.new("RGB", (8, 8), "blue").save(picture)
    judge(server).see(ROW, [picture])
    assert len(server.seen) == 2, "another picture under the same name is another question"


def test_passing_failures_are_tried_again_with_pauses_in_between(server, picture, monkeypatch):
    pauses = []
    monkeypatch.setattr(openai, "PAUSE", 2.0)
    found = judge(server)
    object.__setattr__(found.examiner.answerer, "sleep", pauses.append)
    busy = (429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    server.replies = [busy, (503, "down", {}), YES]
    assert found.see(ROW, [picture]) == {"1": "yes"}
    assert pauses == [7.0, 4.0] and len(server.seen) == 3


@pytest.mark.parametrize(
    ("reply", "said", "tries"),
    [
        ((401, {"error": {"message": "bad key secret-key"}}, {}), "refused the key .HTTP 401.; set OPENAI_API_KEY", 1),
        ((404, {"error": {"message": "no such model"}}, {}), "no such model.; check the URL and the model", 1),
        ((500, "<html>", {}), "HTTP 500", openai.TRIES),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), "points elsewhere", 1),
        ((200, "<html>", {}), "does not answer as OpenAI's chat protocol says", 1),
        ((200, {"choices": [{"message": {"content": None}}]}, {}), "answered without words", 1),
    ],
)
def test_refusals_are_one_line_with_a_remedy(server, picture, monkeypatch, reply, said, tries):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    server.replies = [reply]
    with pytest.raises(BenchmarkError, match=said) as error:
        judge(server).see(ROW, [picture])
    assert "secret-key" not in str(error.value) and "\n" not in str(error.value)
    assert len(server.seen) == tries


def test_nobody_there(server, picture):
    server.shutdown()
    server.server_close()
    with pytest.raises(BenchmarkError, match="cannot be reached"):
        judge(server).see(ROW, [picture])


def test_a_line_that_a_crash_cut_off_costs_one_answer(tmp_path):
    cache = Cache(tmp_path / "kept.jsonl")
    assert [cache.get(("a",), lambda: "1"), cache.get(("b",), lambda: "2")] == ["1", "2"]
    whole = cache.path.read_text()
    cache.path.write_text(whole[:-5])
    again = Cache(cache.path)
    assert again.get(("a",), lambda: "new") == "1" and again.get(("b",), lambda: "2 again") == "2 again"
    assert Cache(cache.path).get(("b",), lambda: "lost") == "2 again"
    assert Cache(cache.path).get(("ab",), lambda: "other") == "other"
