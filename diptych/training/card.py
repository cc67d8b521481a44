"""The card of a trained model: what it is, how it was trained, what it scores. Every number is read from its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from diptych.errors import TrainingError
from diptych.storage import replacing
from diptych.training.folders import copy_texts

SPLITS = ("seen", "heldout", "all")


def release(run: Path, scores: Path, into: Path, about: str) -> None:
    """Publish `run/model` as a built-in folder: model files, card.json, README.md and the training curve.

    run: a finished folder of `diptych train`; scores: `results.json` of `diptych eval --out`.
    """
    source = run / "model"
    if not (source / "model.safetensors").is_file():
        raise TrainingError(f"{run} holds no finished model; train it to the end first")
    into.mkdir(parents=True, exist_ok=True)
    copy_texts(source, into)
    shutil.copyfile(source / "model.safetensors", into / "model.safetensors")
    if (run / "curve.png").is_file():
        shutil.copyfile(run / "curve.png", into / "curve.png")
    card = facts(run, json.loads(scores.read_text("utf-8")))
    for name, text in (("card.json", json.dumps(card, indent=1) + "\n"), ("README.md", page(into.name, about, card))):
        with replacing(into / name) as draft:
            draft.write_text(text, "utf-8")


def facts(run: Path, scores: dict[str, Any]) -> dict[str, Any]:
    """Recipe, steps, seconds, machine and scores."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    steps = [row for row in rows if "losses" in row]
    start = next(row for row in rows if row.get("event") == "start")
    return {
        "recipe": json.loads((run / "recipe.json").read_text("utf-8")),
        "steps": steps[-1]["step"],
        "seconds": round(steps[-1]["seconds"]),
        "losses": steps[-1]["losses"],
        "precision": start["precision"],
        "device": start["device"],
        "threads": start["threads"],
        "scores": scores,
    }


def page(name: str, about: str, card: dict[str, Any]) -> str:
    recipe, scores = card["recipe"], card["scores"]
    samples = card["steps"] * recipe["data"]["batch"]
    losses = ", ".join(f"{k} {v:.3f}" for k, v in card["losses"].items())
    lines = [
        f"# {name}",
        "",
        about,
        "",
        "## Training",
        f"{card['steps']} steps, {samples:,} conversations, {card['seconds'] / 60:.0f} minutes on {card['device']} "
        f"with {card['threads']} thread{'' if card['threads'] == 1 else 's'} in {card['precision']}; data seed "
        f"{recipe['data']['seed']}, training seed {recipe['training'].get('seed', 0)}. Last losses: {losses}. A run "
        "with a time budget is not repeated bit for bit.",
        "",
        "![training curve](curve.png)",
        "",
        "## Scores",
        f"The emoji world's evaluation sets, language {scores['lang']}, seed {scores['seed']}, judged by "
        "`diptych.evaluation.emoji`: share of items passed, seen and held-out compositions apart.",
        "",
    ]
    for title, table in tables(card["scores"]):
        lines += [f"### {title}", "", "| kind | seen | held out | all |", "|---|---|---|---|"]
        lines += [
            f"| {kind} | {' | '.join(_share(row, s) for s in ('seen', 'heldout', 'all'))} |"
            for kind, row in table.items()
        ]
        lines.append("")
    return "\n".join(lines)


def tables(scores: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The tables of a result in reading order."""
    found = [
        ("Drawing", scores.get("drawings")),
        ("Answering", scores.get("answers")),
        ("Editing", scores.get("edits")),
        ("Ceiling: true renders through its tokenizer", scores.get("ceiling", {}).get("drawings")),
        ("Ceiling of editing", scores.get("ceiling", {}).get("edits")),
        ("Floor: its drawings under other prompts", scores.get("floor")),
    ]
    return [(title, table) for title, table in found if table]


def _share(row: dict[str, Any], split: str) -> str:
    return f"{row[split]['share']:.2f} ({row[split]['passed']}/{row[split]['total']})" if split in row else "-"
