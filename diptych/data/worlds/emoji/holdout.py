"""Which compositions training never sees.

A combination is held out when crc32 of its name is 0 modulo 8: object with colour, two objects in one scene, and
object with number (2 to 6). About one in eight of each kind.
"""

import functools
import zlib
from collections.abc import Iterable
from itertools import combinations

from diptych.data.worlds.emoji.graph import Mention
from diptych.data.worlds.emoji.scene import Scene


@functools.lru_cache(1 << 17)
def _held(name: str) -> bool:
    return zlib.crc32(name.encode("utf-8")) % 8 == 0


def color_held(object_id: str, color: str) -> bool:
    return _held(f"color|{object_id}|{color}")


def pair_held(first: str, second: str) -> bool:
    """Whether two different classes may not meet; their order does not matter."""
    low, high = sorted((first, second))
    return _held(f"pair|{low}|{high}")


def count_held(object_id: str, count: int) -> bool:
    return count >= 2 and _held(f"count|{object_id}|{count}")


def mentions_held(mentions: Iterable[Mention]) -> bool:
    """Whether any combination of these is held out: colours, numbers, and who stands with whom."""
    listed = tuple(mentions)
    return (
        any(mention.color is not None and color_held(mention.id, mention.color) for mention in listed)
        or any(count_held(mention.id, mention.count) for mention in listed)
        or any(a.id != b.id and pair_held(a.id, b.id) for a, b in combinations(listed, 2))
    )


def scene_mentions(scene: Scene) -> list[Mention]:
    """The instances of a scene as counted kinds."""
    counts = {thing.id: 0 for thing in scene.objects}
    for thing in scene.objects:
        counts[thing.id] += 1
    seen = {(thing.id, thing.color) for thing in scene.objects}
    return [Mention(object_id, color, counts[object_id]) for object_id, color in sorted(seen, key=str)]


def scene_held(scene: Scene) -> bool:
    return mentions_held(scene_mentions(scene))
