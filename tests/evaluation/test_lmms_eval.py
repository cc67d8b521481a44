"""The model class for lmms-eval: on the package's own base class and requests where it is installed, else on a
stand-in of the documented interface (`api/model.py`, `api/instance.py`, `models/registry_v2.py` of version 0.7)."""

import sys
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from diptych.errors import CapabilityError

RED, BLUE = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")


def stand_in() -> dict[str, ModuleType]:
    class Base:
        def __init__(self):
            self.task_dict = {}

        @classmethod
        def create_from_arg_string(cls, text, more=None):
            return cls(**dict(pair.split("=") for pair in text.split(",")), **(more or {}))

    @dataclass
    class Instance:
        request_type: str
        arguments: tuple
        idx: int
        metadata: dict = field(default_factory=dict)

        @property
        def args(self):
            return self.arguments

    @dataclass(frozen=True)
    class ModelManifest:
        model_id: str
        simple_class_path: str | None = None

    contents = {
        "": {},
        ".api": {},
        ".models": {},
        ".api.model": {"lmms": Base},
        ".api.instance": {"Instance": Instance},
        ".models.registry_v2": {"ModelManifest": ModelManifest},
    }
    modules = {}
    for name, values in contents.items():
        modules[f"lmms_eval{name}"] = ModuleType(f"lmms_eval{name}")
        vars(modules[f"lmms_eval{name}"]).update(values)
    return modules


class Fake:
    """Notes what it is asked."""

    def __init__(self):
        self.asked, self.batch = [], 0

    def chat_batch(self, conversations, **options):
        self.asked.append((conversations, options))
        return [SimpleNamespace(text=f"{turn.text} of {len(turn.images)}\n\nmore") for turn in conversations]


@pytest.fixture
def adapter(monkeypatch):
    if find_spec("lmms_eval") is None:
        for name, module in stand_in().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "diptych.evaluation.lmms_eval", raising=False)
    return import_module("diptych.evaluation.lmms_eval")


@pytest.fixture
def model(adapter, monkeypatch):
    monkeypatch.setattr(adapter, "load", lambda *how, **more: Fake())
    made = adapter.Diptych.create_from_arg_string("pretrained=janus-emoji", {"batch_size": 4})
    made.task_dict = {"t": {"test": [{"images": [RED]}, {"images": [RED, BLUE]}, {"images": []}]}}
    return made


def request(text, number, settings):
    instance = import_module("lmms_eval.api.instance").Instance
    arguments = (text, settings, lambda document: document["images"], number, "t", "test")
    return instance("generate_until", arguments, 0, {"task": "t", "doc_id": number, "repeats": 1})


def test_requests_become_conversations_in_order(model):
    short = {"max_new_tokens": 8, "temperature": 0, "do_sample": False, "until": ["\n\n"]}
    asked = [request("one", 0, short), request("<image>a<image>b", 1, short), request("none", 2, {"do_sample": True})]
    assert model.generate_until(asked) == ["one of 1", "ab of 2", "none of 0\n\nmore"]
    (together, options), (alone, other) = model.model.asked
    assert options == {"max_tokens": 8, "temperature": 0.0} and other == {}
    assert [len(turn.parts) for turn in together] == [2, 4] and len(alone) == 1 and model.model.batch == 4


def test_options_and_places(adapter):
    sampled = {"max_new_tokens": 5, "do_sample": True, "temperature": 0.7, "top_p": None, "num_beams": 1}
    assert adapter.options(sampled) == {"max_tokens": 5, "temperature": 0.7}
    assert adapter.options({"temperature": 0.7, "top_p": 0.9}) == {"temperature": 0.0}
    assert adapter.interleaved("a <image 1>", [RED]) == [RED, "a <image 1>"]
    assert adapter.interleaved("<image>a", [RED, BLUE]) == [RED, BLUE, "<image>a"]
    assert adapter.until("a\nb", "\n") == "a" and adapter.until("ab", ("",)) == "ab"


def test_what_is_not_supported_says_so(model):
    with pytest.raises(CapabilityError, match="generates answers"):
        model.loglikelihood([])
    with pytest.raises(CapabilityError, match="in rounds"):
        model.generate_until_multi_round([])


def test_the_entry_point_names_the_class(adapter):
    found = adapter.manifest()
    module, _, name = found.simple_class_path.rpartition(".")
    assert found.model_id == "diptych" and getattr(import_module(module), name) is adapter.Diptych


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmms_eval.api.model", None)
    monkeypatch.setitem(sys.modules, "lmms_eval", None)
    monkeypatch.delitem(sys.modules, "diptych.evaluation.lmms_eval", raising=False)
    with pytest.raises(ImportError, match="pip install lmms-eval"):
        import_module("diptych.evaluation.lmms_eval")
