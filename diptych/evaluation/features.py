"""Measures on features that some network gave, as arrays [N, D]: FID, KID, Inception score, CLIPScore, directions.

Which network it was belongs to the number. FID: mseitzer/pytorch-fid; IS and KID: torch-fidelity 0.4.0; CLIPScore:
jmhessel/clipscore (Hessel et al. 2021, arXiv:2104.08718); directional similarity: instruct-pix2pix; MagicBrush's
means and pixel distances: OSU-NLP-Group/MagicBrush. All in float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from diptych.errors import BenchmarkError

CLIP_SCALE = 2.5
SEED = 2020


class Spread(NamedTuple):
    """A mean and the deviation (ddof 0) over splits or subsets."""

    mean: float
    std: float


def as_features(features: np.ndarray | Sequence[Sequence[float]], name: str = "features") -> np.ndarray:
    """float64 [N, D]. Raises `BenchmarkError` for anything else."""
    array = np.asarray(features, np.float64)
    if array.ndim != 2 or not array.size:
        raise BenchmarkError(f"{name} must be an array [N, D] with rows in it, not {list(array.shape)}")
    return array


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two Gaussians fitted to the rows (covariance with n - 1). Never negative, but for rounding.

    tr(sqrt(S1 S2)) is the sum of the roots of the eigenvalues of sqrt(S1) S2 sqrt(S1), which is symmetric: no matrix
    root has to converge where the covariances are singular.
    """
    a, b = as_features(a), as_features(b)
    if min(len(a), len(b)) < 2:
        raise BenchmarkError("a Frechet distance needs at least two rows on each side")
    covariance_a, covariance_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(0)).sum()
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(covariance_a) + np.trace(covariance_b) - 2 * product)


def inception_score(logits: np.ndarray, splits: int = 10, shuffle: bool = True, seed: int = SEED) -> Spread:
    """exp of the mean divergence of each row's classes from those of its split."""
    logits = as_features(logits, "logits")
    if shuffle:
        logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    logits = logits - logits.max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    bounds = [i * len(logs) // splits for i in range(splits + 1)]
    scores = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        part, shares = logs[start:end], np.exp(logs[start:end])
        divergence = (shares * (part - np.log(shares.mean(0, keepdims=True)))).sum(1)
        scores.append(np.exp(divergence.mean()))
    return Spread(float(np.mean(scores)), float(np.std(scores)))


def kernel_distance(
    a: np.ndarray, b: np.ndarray, degree: int = 3, gamma: float | None = None, coef0: float = 1
) -> float:
    """Unbiased squared MMD under the kernel (gamma x.y + coef0)^degree; gamma is 1 / D if it is None."""
    a, b = as_features(a), as_features(b)
    gamma = 1 / a.shape[1] if gamma is None else gamma

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (gamma * x @ y.T + coef0) ** degree

    def off_diagonal(x: np.ndarray) -> float:
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return float(off_diagonal(a) + off_diagonal(b) - 2 * kernel(a, b).mean())


def kernel_distance_of_subsets(
    a: np.ndarray, b: np.ndarray, subsets: int = 100, size: int = 1000, seed: int = SEED
) -> Spread:
    """KID: the mean over random subsets, drawn as torch-fidelity draws them."""
    a, b = as_features(a), as_features(b)
    if size > min(len(a), len(b)):
        raise BenchmarkError(f"subsets of {size} rows need as many on each side; there are {len(a)} and {len(b)}")
    rng = np.random.RandomState(seed)
    distances = []
    for _ in range(subsets):
        rows = rng.choice(len(a), size, replace=False), rng.choice(len(b), size, replace=False)
        distances.append(kernel_distance(a[rows[0]], b[rows[1]]))
    return Spread(float(np.mean(distances)), float(np.std(distances)))


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    features = np.asarray(features, np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-8)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, D], [N, D] -> [N]. Papers that print a "CLIPScore" near 0.3 mean this for picture and caption."""
    return (unit(a) * unit(b)).sum(-1)


def clip_scores(images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """2.5 max(cos, 0) of each picture; captions begin with "A photo depicts". [N]."""
    return CLIP_SCALE * cosines(images, captions).clip(0)


def nearest_reference(captions: np.ndarray, references: Sequence[np.ndarray]) -> np.ndarray:
    """The largest cosine of each caption to one of its references. [N]."""
    return np.array([(unit(refs) @ unit(row)).max() for row, refs in zip(captions, references, strict=True)])


def ref_clip_scores(images: np.ndarray, captions: np.ndarray, references: Sequence[np.ndarray]) -> np.ndarray:
    """The harmonic mean of CLIPScore and the nearest reference. [N]."""
    score, nearest = clip_scores(images, captions), nearest_reference(captions, references)
    total = score + nearest
    return np.divide(2 * score * nearest, total, out=np.zeros_like(total), where=total != 0)


def directions(
    image_0: np.ndarray, image_1: np.ndarray, text_0: np.ndarray, text_1: np.ndarray
) -> dict[str, np.ndarray]:
    """Cosines of source and edit: picture to caption on either side, change to change, picture to picture. [N]."""
    image_0, image_1, text_0, text_1 = map(unit, (image_0, image_1, text_0, text_1))
    return {
        "sim_0": cosines(image_0, text_0),
        "sim_1": cosines(image_1, text_1),
        "sim_direction": cosines(image_1 - image_0, text_1 - text_0),
        "sim_image": cosines(image_0, image_1),
    }


def pixel_distances(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Mean absolute and mean squared difference on 0 to 1; uint8 [H, W, 3], the first resized to the second."""
    if image.shape != target.shape:
        image = np.asarray(Image.fromarray(image).resize(target.shape[1::-1]))
    gap = (image.astype(np.float64) - target.astype(np.float64)) / 255
    return {"l1": float(np.abs(gap).mean()), "l2": float(np.square(gap).mean())}
