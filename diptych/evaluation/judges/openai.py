"""`openai:URL#MODEL`: any endpoint that speaks the OpenAI chat protocol and takes pictures.

    openai:https://api.openai.com/v1#gpt-4o
    openai:http://127.0.0.1:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct

The key comes from the environment variable OPENAI_API_KEY; it is sent to that URL alone, follows no redirection, and
is stored nowhere. Answers are kept in `$DIPTYCH_JUDGE_CACHE` (else `~/.cache/diptych/judges`), so that the same
question to the same model is paid for once.
"""

import base64
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import PIL.Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark
from diptych.evaluation.judges import asking
from diptych.evaluation.judges.cache import Cache
from diptych.images import open_image

KEY = "OPENAI_API_KEY"
TIMEOUT = 300.0  # seconds for an answer
TRIES = 5
PAUSE = 2.0  # seconds before the second try; twice as long before each further one
LONGEST_PAUSE = 120.0
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # what may be better the next time
MOST_BYTES = 10_000_000
# How the formats that `images` reads begin, so that a file is sent as it is.
SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}


class _Stay(HTTPRedirectHandler):
    """Redirections are not followed: the key would go with them."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """A model behind a URL."""

    url: str
    id: str
    cache: Cache
    terse: bool = False
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def answer(self, parts: Sequence[asking.Part], system: str, settings: Mapping[str, Any], attempt: int) -> str:
        """The reply's words. Raises `BenchmarkError` where the server refuses, fails for good or answers otherwise."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": [_content(part) for part in parts]}]
        if system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        body = json.dumps({"model": self.id, "messages": messages, **settings}).encode()
        return self.cache.get((self.url, str(attempt), body), lambda: self._reply(body))

    def _reply(self, body: bytes) -> str:
        for number in range(TRIES):
            try:
                return _words(self._send(body))
            except HTTPError as error:
                if error.code not in PASSING or number == TRIES - 1:
                    raise BenchmarkError(_refusal(error, self)) from error
                self.sleep(_pause(number, error.headers.get("Retry-After")))
            except (OSError, HTTPException) as error:
                if number == TRIES - 1:
                    raise BenchmarkError(
                        f"{self.url} cannot be reached ({error}); check the URL and the network"
                    ) from error
                self.sleep(_pause(number))
        raise AssertionError("the last try returns or raises")

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url, body, headers, method="POST")
        with build_opener(_Stay).open(request, timeout=TIMEOUT) as response:
            return response.read(MOST_BYTES)


def _pause(number: int, asked: str | None = None) -> float:
    """Seconds: what the server asks for, else twice as long each time."""
    wanted = float(asked) if asked and asked.isdigit() else PAUSE * 2**number
    return min(wanted, LONGEST_PAUSE)


def _refusal(error: HTTPError, endpoint: Endpoint) -> str:
    """One line with the remedy. The server's own words stand in it, but not where it speaks of the key."""
    if error.code in (401, 403):
        return f"{endpoint.url} refused the key (HTTP {error.code}); set {KEY}"
    if 300 <= error.code < 400:
        return f"{endpoint.url} points elsewhere (HTTP {error.code}), which is not followed; give the final URL"
    try:
        said = str(json.loads(error.read(MOST_BYTES))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        said = str(error.reason)
    advice = "check the URL and the model's name" if error.code == 404 else "correct the request or try again later"
    return f"{endpoint.url} refused {endpoint.id} (HTTP {error.code}: {' '.join(said.split())[:200]}); {advice}"


def _words(body: bytes) -> str:
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BenchmarkError(
            "the judge's server does not answer as OpenAI's chat protocol says; check the URL"
        ) from error
    if not isinstance(content, str):
        raise BenchmarkError("the judge answered without words; take a model that answers in text")
    return content


def _content(part: asking.Part) -> dict[str, Any]:
    """A text or a picture as the protocol writes it. Files go as they are, pictures in memory as PNG."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data, kind = _picture(part)
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}}


def _picture(part: Path | bytes | PIL.Image.Image) -> tuple[bytes, str]:
    if isinstance(part, PIL.Image.Image):
        stream = io.BytesIO()
        part.save(stream, format="PNG")
        return stream.getvalue(), "png"
    open_image(part)  # what is no picture is an error here, and not a question without one
    data = part.read_bytes() if isinstance(part, Path) else part
    return data, next(kind for signature, kind in SIGNATURES.items() if data.startswith(signature))


def make(rest: str, benchmark: Benchmark, data: Path | None) -> asking.Asked:
    """The judge of `URL#MODEL`. Raises `BenchmarkError` if it is not written so."""
    url, _, model = rest.partition("#")
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname or not model:
        raise BenchmarkError(
            f"openai:{rest} is not written openai:URL#MODEL, as in openai:https://api.openai.com/v1#gpt-4o"
        )
    if place.username or place.password or place.query:
        raise BenchmarkError(f"a judge's URL holds no key; put it into the environment variable {KEY}")
    address = url.rstrip("/")
    if not address.endswith("/chat/completions"):
        address += "/chat/completions"
    return asking.make("openai", benchmark, data, Endpoint(address, model, Cache.of(place.hostname, model)))
