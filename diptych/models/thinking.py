"""Text that a model writes for itself before it draws (BAGEL's think mode)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diptych.canvas import Draws
from diptych.models.family import Dialogue, Options
from diptych.models.network import Ids, Network
from diptych.samplers.conversation import cut, say, write
from diptych.types import Request


def think(
    network: Network, dialogue: Dialogue, requests: Sequence[Request], options: Options, draws: Draws
) -> list[Ids]:
    """What is said after each request before its picture, with the mark that ends it: for `render(request, said)`.

    The requests are read as those whose reply is text and pictures (`want="any"`); one that is to be drawn opens no
    reply. A thought of `max_tokens` that has not ended is ended there, as published.
    """
    with torch.inference_mode():
        rows = network.read([dialogue.render(Request(request.turns, "any")) for request in requests])
    context = say(network.backbone, rows, room=options.max_tokens)
    *_, (_, canvas) = write(context, dialogue.text(options), options.max_tokens, draws)
    written = [ids[known] for ids, known in zip(canvas.value, canvas.known, strict=True)]
    return [Ids([*cut(ids, dialogue.stops)[0], dialogue.ending]) for ids in written]
