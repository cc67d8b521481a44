"""Small files of benchmarks in their published form."""

import json
from pathlib import Path

from PIL import Image as Pillow

SPLITS = ("random", "popular", "adversarial")


def lines(records: list[dict]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def pope(folder: Path, pictures: int = 3) -> Path:
    """POPE: two questions a picture in each split."""
    (folder / "val2014").mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        Pillow.new("RGB", (8, 8), (number * 20, 0, 0)).save(folder / "val2014" / f"{number}.png")
    for split in SPLITS:
        records = [
            {"question_id": i, "image": f"{i // 2}.png", "text": f"Is there a {split} cat {i}?", "label": label}
            for i, label in enumerate(("yes", "no") * pictures)
        ]
        (folder / f"coco_pope_{split}.json").write_text(lines(records))
    return folder


def geneval(folder: Path, prompts: int = 3) -> Path:
    """GenEval: prompts of single objects."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": f"a photo of a bench {i}"}
        for i in range(prompts)
    ]
    (folder / "evaluation_metadata.jsonl").write_text(lines(records))
    return folder


def seen(score: float = 0.9) -> dict:
    """What a detector saw on a picture of a bench."""
    return {"bench": [{"box": [1, 1, 9, 9], "score": score}]}


def gedit(folder: Path) -> Path:
    """GEdit: two instructions, one picture each."""
    for key in ("a", "b"):
        path = folder / "fullset" / "color_alter" / "en" / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (8, 8), (9, 9, 9)).save(path)
    records = {
        key: {"prompt": "Make it red.", "id": f"fullset/color_alter/en/{key}.png", "edit_type": "color_alter"}
        for key in ("a", "b")
    }
    (folder / "gedit_edit.json").write_text(json.dumps(records))
    return folder
