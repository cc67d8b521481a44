"""KRIS-Bench: edits that need knowledge, scored 1 to 5 by a judge (Wu et al. 2025, arXiv:2505.16707).

Official: ByteDance-Seed/Bagel `eval/gen/kris/summarize.py`. Means are over all values of a group, not means of means.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.evaluation.benchmark import Benchmark, Row, Table, ask_picture, grouped, mean
from diptych.evaluation.files import find_file, read_json, take

TYPES = {
    "Attribute Perception": (
        "count_change",
        "color_change",
        "size_adjustment",
        "part_completion",
        "anomaly_correction",
    ),
    "Spatial Perception": ("viewpoint_change", "position_movement"),
    "Temporal Prediction": ("temporal_prediction",),
    "Social Science": ("humanities", "practical_knowledge"),
    "Natural Science": ("biology", "chemistry", "geography", "medicine", "mathematics", "physics"),
    "Logical Reasoning": ("abstract_reasoning", "rule-based_reasoning"),
    "Instruction Decomposition": ("multi-element_composition", "multi-instruction_execution"),
}
KNOWLEDGE = ("Social Science", "Natural Science", "Logical Reasoning")  # only these are asked for knowledge
LEVELS = {
    "Factual Knowledge": ("Attribute Perception", "Spatial Perception", "Temporal Prediction"),
    "Conceptual Knowledge": ("Social Science", "Natural Science"),
    "Procedural Knowledge": ("Logical Reasoning", "Instruction Decomposition"),
}
SHORT = {"consistency_score": "VC", "quality_score": "VQ", "instruction_score": "IF", "knowledge_score": "KP"}
Samples = Mapping[str, Mapping[str, float | None]]


def summarise(metrics: Mapping[str, Samples]) -> Table:
    """Percent, (score - 1) * 25: by type and metric, by task and metric, by level of knowledge, over all values."""
    tasks = {
        kind: {task: _values(kind, metrics[task]) for task in names if task in metrics} for kind, names in TYPES.items()
    }
    pooled = {kind: [pair for values in found.values() for pair in values] for kind, found in tasks.items()}
    levels = {level: [pair for kind in kinds for pair in pooled[kind]] for level, kinds in LEVELS.items()}
    everything = [pair for values in pooled.values() for pair in values]
    subitems = {
        kind: {task: _means(values) for task, values in found.items() if values} for kind, found in tasks.items()
    }
    return {
        "types": {kind: _means(values) | _average(values) for kind, values in pooled.items() if values},
        "subitems": {kind: found for kind, found in subitems.items() if found},
        "meta": {level: _average(values) for level, values in levels.items() if values},
        "overall": _average(everything),
    }


def _values(kind: str, samples: Samples) -> list[tuple[str, float]]:
    """Metric and percent of each score there is."""
    asked = [metric for metric in SHORT if metric != "knowledge_score" or kind in KNOWLEDGE]
    return [
        (SHORT[metric], (score - 1) * 25)
        for sample in samples.values()
        for metric in asked
        if (score := sample.get(metric)) is not None
    ]


def _means(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    groups = grouped([name for name, _ in values], [score for _, score in values])
    return {name: mean(groups[name]) for name in SHORT.values() if name in groups}


def _average(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    return {"AVG": mean([score for _, score in values])} if values else {}


def rows(folder: Path) -> list[Row]:
    """`final_data.json`; pictures in a folder a type."""
    path = find_file(folder, "final_data.json")
    found = []
    for record in read_json(path, list):
        task = take(record, "type", path, str)
        listed = take(record, "ori_img", path)
        images = tuple(folder / task / name for name in (listed if isinstance(listed, list) else [listed]))
        facts = {"task": task, "explanation": record.get("explain_en", "")}
        if "gt_img" in record:
            facts["truth"] = str(folder / task / record["gt_img"])
        found.append(Row(f"{task}-{take(record, 'id', path)}", take(record, "ins_en", path, str), images, facts))
    return found


def tally(rows: Sequence[Row], scores: Sequence[Mapping[str, Any]]) -> Table:
    both = [(row.id, given) for row, given in zip(rows, scores, strict=True)]
    return summarise({task: dict(found) for task, found in grouped([row.facts["task"] for row in rows], both).items()})


BENCHMARKS = {
    "kris": Benchmark(
        name="kris",
        version=1,
        source="ByteDance-Seed/Bagel@056b5fd5",
        evidence="scores 1 to 5: consistency_score, quality_score, instruction_score, knowledge_score",
        rows=rows,
        judge=lambda row, scores: dict(scores),
        tally=tally,
        ask=ask_picture,
        figure="overall/AVG",
    ),
}
