"""`local:blip-vqa` and `local:qwen2.5-vl`: models that answer about pictures, and how sure they are of a yes.

VQAScore (Lin et al. 2024, arXiv:2404.01291) is the probability that the first word of an answer is "Yes".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import PIL.Image
import torch
from torch import Tensor

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Benchmark, Row
from diptych.evaluation.judges import asking
from diptych.evaluation.networks import model, named, normalised, planes, pretrained

MOST_TOKENS = 512
VQASCORE = ("clip-flant5-xxl",)


class Sure(asking.Answerer, Protocol):
    """An answerer that can also say how sure it is of a yes, 0 to 1."""

    def yes(self, picture: PIL.Image.Image, question: str) -> float: ...


class Blip:
    """BLIP for visual question answering: one picture, one question, a few words."""

    terse = True

    def __init__(self, source: str, device: str = "auto"):
        self.id = named(source)
        self.model = model("BlipForQuestionAnswering", source, device)
        self.tokenizer = pretrained("AutoTokenizer", source)
        self.size: int = self.model.config.vision_config.image_size

    def answer(self, parts: Sequence[asking.Part], system: str, settings: Mapping[str, Any], attempt: int) -> str:
        pictures = [asking.opened(part) for part in parts if not isinstance(part, str)]
        words = " ".join(part for part in parts if isinstance(part, str))
        if len(pictures) != 1:
            raise BenchmarkError(f"{self.id} answers about one picture, not {len(pictures)}; take a judge that chats")
        inputs = self._inputs(pictures[0], words)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=settings.get("max_tokens", 50), do_sample=False)
        return self.tokenizer.decode(ids[0], skip_special_tokens=True).strip()

    def yes(self, picture: PIL.Image.Image, question: str) -> float:
        inputs = self._inputs(picture, question)
        start = torch.full((1, 1), self.model.decoder_start_token_id, device=self.model.device)
        with torch.inference_mode():
            seen = self.model.vision_model(pixel_values=inputs["pixel_values"])[0]
            asked = self.model.text_encoder(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
            )[0]
            logits = self.model.text_decoder(
                input_ids=start, encoder_hidden_states=asked, encoder_attention_mask=inputs["attention_mask"]
            ).logits
        return _share(logits[0, -1], self.tokenizer, "yes")

    def _inputs(self, picture: PIL.Image.Image, question: str) -> dict[str, Tensor]:
        scaled = picture.resize((self.size, self.size), PIL.Image.Resampling.BICUBIC)
        words = self.tokenizer(question, return_tensors="pt")
        tensors = {name: words[name] for name in ("input_ids", "attention_mask")}
        tensors["pixel_values"] = normalised(planes(scaled))[None]
        return {name: tensor.to(self.model.device) for name, tensor in tensors.items()}


class Chat:
    """Any of transformers' models that chat about pictures, greedy."""

    terse = False

    def __init__(self, source: str, device: str = "auto"):
        self.id = named(source)
        self.model = model("AutoModelForImageTextToText", source, device)
        self.processor = pretrained("AutoProcessor", source)

    def answer(self, parts: Sequence[asking.Part], system: str, settings: Mapping[str, Any], attempt: int) -> str:
        inputs = self._inputs(parts, system)
        tokens = settings.get("max_tokens", MOST_TOKENS)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        said = ids[0, inputs["input_ids"].shape[1] :]
        return self.processor.decode(said, skip_special_tokens=True).strip()

    def yes(self, picture: PIL.Image.Image, question: str) -> float:
        with torch.inference_mode():
            logits = self.model(**self._inputs([picture, question], "")).logits
        return _share(logits[0, -1], self.processor.tokenizer, "Yes")

    def _inputs(self, parts: Sequence[asking.Part], system: str) -> Any:
        content = [_content(part) for part in parts]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        prepared = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return prepared.to(self.model.device)


def _content(part: asking.Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": asking.opened(part)}


def _share(logits: Tensor, tokenizer: Any, word: str) -> float:
    """The probability of a word's first token."""
    token = tokenizer(word, add_special_tokens=False)["input_ids"][0]
    return float(logits.float().softmax(-1)[token])


@dataclass(frozen=True)
class YesJudge:
    """How sure a model is that each picture shows the row's prompt."""

    kind: str
    answerer: Sure
    official: bool = False

    @property
    def id(self) -> str:
        return asking.stand_in(f"local:{self.answerer.id}", False, VQASCORE)

    def see(self, row: Row, images: Sequence[Path], reply: str = "") -> list[float]:
        question = f'Does this figure show "{row.prompt}"? Please answer yes or no.'
        return [self.answerer.yes(asking.opened(path), question) for path in images]


def blip(models: Sequence[str], benchmark: Benchmark, data: Path | None) -> YesJudge | asking.Asked:
    return _judge(Blip(models[0]), benchmark, data)


def chat(models: Sequence[str], benchmark: Benchmark, data: Path | None) -> YesJudge | asking.Asked:
    return _judge(Chat(models[0]), benchmark, data)


def _judge(answerer: Sure, benchmark: Benchmark, data: Path | None) -> YesJudge | asking.Asked:
    if benchmark.name in asking.HOMES:
        return asking.make("local", benchmark, data, answerer)
    return YesJudge(benchmark.evidence, answerer)
