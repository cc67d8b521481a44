"""Who sees whom: matrices drawn by hand, cheaper forms against the rule, masks of published models."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from diptych import attention
from diptych.attention import (
    CAUSAL,
    EVERYONE,
    KIN,
    LATER,
    OPEN,
    Lowering,
    Visibility,
    attend,
    attend_one,
    dense,
    lower_dense,
    lower_flex,
)
from diptych.backbone.packing import Packed, Sample, Segment, Span, pack, pack_samples
from diptych.weights.files import Checkpoint
from tests.engine.published import each
from tests.parity.sets import GoldenSet, sets

AUDIENCES = {"later": LATER, "everyone": EVERYONE, "kin": KIN}


def run(length: int, look: str = "causal", audience: str = "later") -> Segment:
    return Segment(torch.zeros(length, 1), Span(look, AUDIENCES[audience]))  # type: ignore[arg-type]


def mask(packed: Packed) -> Tensor:
    return dense(packed.visibility, packed.visibility)[:, 0]


def drawing(picture: str) -> Tensor:
    """Rows of queries, # where a key is seen."""
    return torch.tensor([[c == "#" for c in line] for line in picture.split()])


# One token, two tokens that look and are looked at as the name says, one token.
MATRICES = {
    ("causal", "later"): "#... ##.. ###. ####",
    ("full", "later"): "#... ###. ###. ####",
    ("all", "later"): "#... #### #### ####",
    ("causal", "everyone"): "###. ###. ###. ####",
    ("full", "everyone"): "###. ###. ###. ####",
    ("all", "everyone"): "###. #### #### ####",
    ("causal", "kin"): "#... ##.. ###. #..#",
    ("full", "kin"): "#... ###. ###. #..#",
    ("all", "kin"): "#... #### #### #..#",
}


@pytest.mark.parametrize(("look", "audience"), MATRICES)
def test_matrix(look: str, audience: str) -> None:
    packed = pack([[run(1), run(2, look, audience), run(1)]])
    assert torch.equal(mask(packed)[0], drawing(MATRICES[look, audience]))


def test_padding_is_seen_by_nobody() -> None:
    rows = [[run(1), run(2, "full")], [run(1, "all", "everyone")]]
    left, right = mask(pack(rows)), mask(pack(rows, left=False))
    assert torch.equal(left[0], drawing("#.. ### ###")) and torch.equal(right[0], left[0])
    assert torch.equal(left[1], drawing("... ... ..#"))
    assert torch.equal(right[1], drawing("#.. ... ..."))


def test_samples_of_a_row_never_meet() -> None:
    first, second = [run(1), run(2, "full", "everyone")], [run(1, "all", "kin"), run(1), run(1, "causal", "everyone")]
    packed = pack_samples([[first, second], [second]])
    assert torch.equal(
        mask(packed)[0],
        drawing("###... ###... ###... ...### ....## ....##"),
    )
    assert torch.equal(mask(packed)[1, :3, :3], drawing("### .## .##"))
    assert not mask(packed)[1, 3:].any() and not mask(packed)[1, :, 3:].any()
    assert packed.position.tolist() == [[0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 0, 0]]


def test_cached_keys_are_seen_by_what_follows() -> None:
    said, visit = pack([[run(1), run(1, "full", "kin"), run(1)]]), pack([[run(2, "full")]], base=3, start=[3])
    keys = Visibility(*(torch.cat(pair, 1) for pair in zip(said.visibility, visit.visibility, strict=True)))
    assert torch.equal(dense(visit.visibility, keys)[0, 0], drawing("#.### #.###"))


def test_positions_stand_still_and_move_on_as_told() -> None:
    spans = [
        (3, Span("full", still=True)),
        (2, Span()),
        (2, Span("full", KIN, still=True, advance=0)),
        (2, Span(advance=5)),
    ]
    packed = pack([[Segment(torch.zeros(n, 1), s) for n, s in spans]], start=[10])
    assert packed.position.tolist() == [[10, 10, 10, 11, 12, 13, 13, 13, 14]]
    assert packed.end.tolist() == [18]


# --- cheaper forms ---------------------------------------------------------------------------------------------

segments = st.builds(
    run,
    st.integers(0, 3),
    st.sampled_from(["causal", "full", "all"]),
    st.sampled_from(["later"] * 3 + ["everyone", "kin"]),
)
causal = st.builds(run, st.integers(0, 3))
samples = st.one_of(st.lists(segments, max_size=3), st.lists(causal, max_size=3), st.lists(segments, max_size=1))


def tokens(sample: Sample) -> int:
    return sum(len(s.x) for s in sample)


def agree(packed: Packed, keys: Visibility, lowering: Lowering) -> None:
    """The lowering attends as the dense rule does, for every token that is not padding."""
    generator = torch.Generator().manual_seed(0)
    batch, length, seen = *packed.position.shape, keys.sample.shape[1]
    q = torch.randn(batch, 4, length, 8, generator=generator)
    k, v = torch.randn(2, batch, 2, seen, 8, generator=generator)
    real = packed.visibility.sample >= 0
    ours = attend(q, k, v, lowering).transpose(1, 2)[real]
    scores = (q @ k.repeat_interleave(2, 1).transpose(-1, -2) / 8**0.5).masked_fill(
        ~dense(packed.visibility, keys), float("-inf")
    )
    theirs = (scores.softmax(-1) @ v.repeat_interleave(2, 1)).transpose(1, 2)[real]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@given(st.lists(samples, min_size=1, max_size=3), st.booleans())
def test_the_form_chosen_is_the_rule(rows: Sequence[Sample], left: bool) -> None:
    assume(any(tokens(row) for row in rows))
    packed = pack(rows, left=left)
    agree(packed, packed.visibility, packed.lowering or lower_dense(packed.visibility, packed.visibility))


@given(st.lists(st.tuples(samples, samples), min_size=1, max_size=3))
def test_the_form_chosen_over_a_cache_is_the_rule(rows: Sequence[tuple[Sample, Sample]]) -> None:
    said = pack([[s for s in old if s.span.look != "all"] + [run(1)] for old, _ in rows])
    assume(any(tokens(new) for _, new in rows))
    clean, base = not (said.ragged or said.private), said.x.shape[1]
    packed = pack([new for _, new in rows], base=base, start=said.end.tolist(), clean=clean)
    keys = Visibility(*(torch.cat(pair, 1) for pair in zip(said.visibility, packed.visibility, strict=True)))
    agree(packed, keys, packed.lowering or lower_dense(packed.visibility, keys))


@given(st.lists(st.lists(samples, min_size=1, max_size=3), min_size=1, max_size=2))
def test_the_form_chosen_for_packed_samples_is_the_rule(rows: Sequence[Sequence[Sample]]) -> None:
    assume(all(tokens(sample) for row in rows for sample in row))
    packed = pack_samples(rows)
    agree(packed, packed.visibility, packed.lowering or lower_dense(packed.visibility, packed.visibility))


FORMS: dict[str, tuple[list[Sample], bool, str | None]] = {
    "plain text": ([[run(3)], [run(2)]], False, "causal"),
    "plain text in several spans": ([[run(3), run(2)]], True, "causal"),
    "text padded on the left": ([[run(3)], [run(2)]], True, None),
    "one picture": ([[run(3, "full")], [run(3, "all", "kin")]], True, "open"),
    "pictures of two sizes": ([[run(3, "full")], [run(2, "full")]], True, None),
    "one token": ([[run(1)], [run(1, "full")]], True, "causal"),
    "everything sees everything": ([[run(2, "all"), run(3, "all")]], True, "open"),
    "private notes in it": ([[run(2, "all"), run(3, "all", "kin")]], True, None),
    "text then picture": ([[run(2), run(3, "full")]], True, None),
}


@pytest.mark.parametrize("name", FORMS)
def test_which_form_is_chosen(name: str) -> None:
    rows, left, kind = FORMS[name]
    if name == "one token":
        assert pack([rows[0]], base=4).lowering == OPEN and pack([rows[0]], base=4, clean=False).lowering is None
        rows = [rows[0]]
    lowering = pack(rows, left=left).lowering
    assert (None if lowering is None else lowering.kind) == kind


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("kind", ["causal", "open", "dense", "flex"])
def test_each_form_against_the_rule(kind: str) -> None:
    rows = {"causal": [[run(4), run(3)]], "open": [[run(7, "full")]]}.get(
        kind, [[run(2), run(3, "full", "kin"), run(2, "causal", "everyone")], [run(4, "all"), run(1)]]
    )
    packed = pack(rows)
    seen = packed.visibility
    forms = {"causal": lambda *_: CAUSAL, "open": lambda *_: OPEN, "dense": lower_dense, "flex": lower_flex}
    agree(packed, seen, forms[kind](seen, seen))


@pytest.mark.parametrize(("products", "part"), [(False, 0), (True, 2**22), (True, 3 * 5 * 8 * 4), (True, 0)])
@pytest.mark.parametrize("padded", [False, True])
def test_one_query_a_row(padded: bool, products: bool, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By either kernel, of which the quicker one is taken; products at once, in parts of three heads, head by head."""
    monkeypatch.setattr(attention, "products_pay", lambda dtype: products)
    monkeypatch.setattr(attention, "PART", part)
    generator = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 4, 1, 8, generator=generator), torch.randn(2, 2, 5, 8, generator=generator)
    v = torch.randn(2, 2, 5, 8, generator=generator)
    hidden = torch.tensor([[True, True, False, False, False], [False] * 5]) if padded else None
    full = OPEN if hidden is None else Lowering("dense", ~hidden[:, None, None])
    torch.testing.assert_close(attend_one(q, k, v, hidden), attend(q, k, v, full))
    q, k, v = (t.bfloat16() for t in (q, k, v))
    exact = attend(q.float(), k.float(), v.float(), full)
    torch.testing.assert_close(attend_one(q, k, v, hidden).float(), exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("products", "pays"), [(1.0, True), (1.9, False), (3.0, False)])
def test_products_are_taken_where_they_are_clearly_quicker(products: float, pays: bool, monkeypatch) -> None:
    """In half types only: a choice by time could differ from run to run, and with it the last bits of float32."""
    times = iter([products, 2.0])
    monkeypatch.setattr(attention, "seconds", lambda work: next(times))
    assert attention.products_pay.__wrapped__(torch.bfloat16) is pays
    assert attention.products_pay.__wrapped__(torch.float32) is False


# --- published masks -------------------------------------------------------------------------------------------


def holding(*names: str) -> list[tuple[GoldenSet]]:
    """The sets whose cases have all these tensors."""
    return [(golden,) for golden in sets() if set(names) <= set(Checkpoint(golden.folder / "cases.safetensors"))]


@each(holding("train.in.mask0", "train.in.packed_position_ids"))
def test_bagel_training_masks(golden: GoldenSet) -> None:
    """Clean pictures are full; noised ones are seen by themselves only and take up no position."""
    case, settings = golden.cases["train"], golden.settings["train"]
    looks = {"causal": Span(), "full": Span("full", still=True), "noise": Span("full", KIN, still=True, advance=0)}
    runs = [
        Segment(torch.zeros(n, 1), looks[mode])
        for n, mode in zip(settings["split_lens"], settings["attn_modes"], strict=True)
    ]
    rows: list[list[Segment]] = []
    for length in settings["sample_lens"]:
        rows.append([])
        while tokens(rows[-1]) < length:
            rows[-1].append(runs.pop(0))
    packed = pack_samples([rows])
    official = torch.block_diag(*[case.inputs[f"mask{i}"] for i in range(len(rows))])
    assert torch.equal(mask(packed)[0], official.bool())
    assert torch.equal(packed.position[0], case.inputs["packed_position_ids"])
    ragged = pack(rows)
    for row, sample in zip(mask(ragged), rows, strict=True):
        n = tokens(sample)
        assert torch.equal(row[-n:, -n:], case.inputs[f"mask{rows.index(sample)}"])


@each(holding("und_full.in.mask", "und_full.in.token_ids"))
def test_bagel_understanding_mask(golden: GoldenSet) -> None:
    case = golden.cases["und_full"]
    ids, official = case.inputs["token_ids"], case.inputs["mask"].bool()
    # the picture stands between its two marks, which belong to it
    seen = (ids == -1).nonzero()[:, 0]
    begin, end = int(seen[0]) - 1, int(seen[-1]) + 2
    packed = pack([[run(begin), run(end - begin, "full"), run(len(ids) - end)]])
    assert torch.equal(mask(packed)[0], official)


def show_o_cases() -> list[tuple[GoldenSet, str]]:
    return [
        (golden, name)
        for golden in sets()
        if (golden.folder / "config.json").is_file() and golden.config.get("_class_name") == "Showo"
        for name, case in golden.cases.items()
        if "attention_allowed" in case.inputs
    ]


def show_o_row(ids: Tensor, text: int) -> tuple[Sample, Tensor]:
    """One official row as spans, and which of its columns are not padding. Vocabulary: `text` ids, then [PAD], begin
    and end of image, two marks, and the marks of the two tasks."""
    pad, begin, end, draw, read = text, text + 1, text + 2, text + 5, text + 6
    real = ids != pad
    kept = ids[real].tolist()
    if draw in kept:
        at = kept.index(begin)
        return [run(at), run(kept.index(end) + 1 - at, "full"), run(len(kept) - kept.index(end) - 1)], real
    if read in kept:
        at = kept.index(end) + 1
        return [run(at, "full", "everyone"), run(len(kept) - at)], real
    return [run(len(kept))], real


@each(show_o_cases())
def test_show_o_masks(golden: GoldenSet, name: str) -> None:
    inputs = golden.cases[name].inputs
    ids = inputs["input_ids"]
    if "uncond_input_ids" in inputs and len(inputs["attention_allowed"]) > len(ids):
        ids = torch.cat([ids, inputs["uncond_input_ids"]])
    assert len(ids) == len(inputs["attention_allowed"])
    for own, official in zip(ids, inputs["attention_allowed"][:, 0].bool(), strict=True):
        row, real = show_o_row(own, golden.config["llm_vocab_size"])
        assert torch.equal(mask(pack([row]))[0], official[real][:, real])


@each(holding("understand.out.attention_allowed_rowsum"))
def test_show_o_masks_over_image_features(golden: GoldenSet) -> None:
    """Features stand after a mark and the system's words, which see them too."""
    case = golden.cases["understand"]
    features, length = case.outputs["image_embeddings"].shape[1], int(case.outputs["seq_len"])
    before = len(case.inputs["system_ids"].flatten()) + 2
    found = mask(pack([[run(before), run(features, "full", "everyone"), run(length - before - features)]]))[0]
    assert torch.equal(found.sum(0), case.outputs["attention_allowed_colsum"])
    assert torch.equal(found.sum(1), case.outputs["attention_allowed_rowsum"])
