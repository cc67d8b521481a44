"""A graph: what a text says about a picture, and no more.

A field that is None is not spoken of, so any value is right; counts are always spoken of.
"""

from dataclasses import dataclass, replace
from typing import Any

from diptych.data.worlds.emoji.rules import OBJECTS, Noun


@dataclass(frozen=True)
class Mention:
    """One kind of object in a text: `count` instances, maybe a colour and a place, maybe called by a synonym."""

    id: str
    color: str | None = None
    count: int = 1
    pos: str | None = None
    synonym: Noun | None = None

    @property
    def noun(self) -> Noun:
        return self.synonym or OBJECTS[self.id].noun

    def to_json(self) -> dict[str, Any]:
        asked = {"id": self.id, "color": self.color, "count": self.count, "pos": self.pos}
        return {key: value for key, value in asked.items() if value is not None}


@dataclass(frozen=True)
class Graph:
    """Mentions, relations (subject index, relation, object index), and background and style where named."""

    objects: tuple[Mention, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    bg: str | None = None
    style: str | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Graph":
        mentions = tuple(Mention(**mention) for mention in data["objects"])
        relations = tuple((i, relation, j) for i, relation, j in data["relations"])
        return cls(mentions, relations, data["bg"], data["style"])

    def to_json(self) -> dict[str, Any]:
        return {
            "objects": [mention.to_json() for mention in self.objects],
            "relations": [list(relation) for relation in self.relations],
            "bg": self.bg,
            "style": self.style,
        }

    def with_mention(self, index: int, mention: Mention) -> "Graph":
        changed = list(self.objects)
        changed[index] = mention
        return replace(self, objects=tuple(changed))
