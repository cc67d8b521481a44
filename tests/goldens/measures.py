"""What each golden group of captions and of measures on features calls in the library."""

from typing import Any

import numpy as np

from diptych.evaluation import features
from diptych.evaluation.benchmarks import caption
from diptych.evaluation.ptb import tokenize
from tests.goldens.sets import folder_of


def frechet(features_1: Any, features_2: Any) -> dict[str, Any]:
    distance = features.frechet_distance(np.array(features_1), np.array(features_2))
    return {"fid": distance, "fid_by_eigenvalues": distance}


def frechet_npz(npz: str, keys: list[str]) -> dict[str, Any]:
    with np.load(folder_of("fid") / npz) as arrays:
        return frechet(*(arrays[key] for key in keys))


def inception(logits: Any, splits: int, shuffle: bool, rng_seed: int = features.SEED) -> dict[str, Any]:
    return features.inception_score(logits, splits, shuffle, rng_seed)._asdict()


def kernel(features_1: Any, features_2: Any, **of_kernel: Any) -> dict[str, Any]:
    return {"mmd2_unbiased": features.kernel_distance(features_1, features_2, **of_kernel)}


def kernel_subsets(features_1: Any, features_2: Any, subsets: int, subset_size: int, rng_seed: int) -> dict[str, Any]:
    found = features.kernel_distance_of_subsets(features_1, features_2, subsets, subset_size, rng_seed)
    return found._asdict()


def clip(image_features: Any, text_features: Any) -> dict[str, Any]:
    scores = features.clip_scores(image_features, text_features)
    return {"per_image": scores.tolist(), "mean": float(scores.mean())}


def ref_clip(image_features: Any, text_features: Any, reference_text_features: Any) -> dict[str, Any]:
    scores = features.ref_clip_scores(image_features, text_features, reference_text_features)
    nearest = features.nearest_reference(text_features, reference_text_features)
    return {"text_text": nearest.tolist(), "refclipscore": scores.tolist(), "mean": float(scores.mean())}


def directional(**sides: Any) -> dict[str, Any]:
    return {name: values.tolist() for name, values in features.directions(**sides).items()}


def pixel(generated: Any, target: Any) -> dict[str, Any]:
    return features.pixel_distances(np.array(generated, np.uint8), np.array(target, np.uint8))


KNOWN = {
    "caption": {
        "ptb_tokenize": lambda text: {"tokens": tokenize(text)},
        "scores": lambda references, candidates: caption.score(references, candidates),
    },
    "fid": {
        "fid": frechet,
        "fid_npz": frechet_npz,
        "inception_score": inception,
        "kid_mmd2": kernel,
        "kid_subsets": kernel_subsets,
    },
    "clipscore": {"clipscore": clip, "refclipscore": ref_clip, "directional": directional},
    "magicbrush": {
        "cosine": lambda generated, target: {"mean_similarity": float(features.cosines(generated, target).mean())},
        "pixel": pixel,
    },
}
