"""What the network is to answer for a scene, and how wrong an answer is."""

from __future__ import annotations

import numpy as np
from keras import ops

from embeddings.cheque_map import CHANNELS, INPUT, STRIDE, picture, scale_of
from embeddings.finder import LYING, NEAR
from training.cheques.capture import Scene, box

CELLS = (INPUT[0] // STRIDE, INPUT[1] // STRIDE)
INSIDE = 0.55  # part of a signature's box that must lie on the image for it to count
# The map's channels, then where a signature's count, where a cheque's count, and where the first heat counts.
TARGETS = CHANNELS + 3
MARKED, PAGED, HEATED = CHANNELS, CHANNELS + 1, CHANNELS + 2


def example(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Picture float16 (256, 512) and target float16 (32, 64, 21) of a scene."""
    scale = scale_of(scene.grey.shape) / STRIDE
    target = np.zeros((*CELLS, TARGETS), np.float32)
    target[:, :, HEATED] = 1
    nearest = np.full(CELLS, np.inf)
    for truth in scene.truths:
        ink, around = (np.array(box(part)) * scale for part in (truth.ink, truth.field))
        away = _away(ink)
        if _share_inside(ink, scene, scale) < INSIDE:
            target[:, :, HEATED] *= np.hypot(*away) > 4  # neither right nor wrong
            continue
        spread = float(np.clip(0.22 * min(ink[2], ink[3]), 0.6, 1.6))
        target[:, :, 0] = np.maximum(target[:, :, 0], _bump(*away, spread))
        own = _nearest(nearest, np.hypot(*away), 1.8)
        target[own, 2:6], target[own, 6:10] = _sides(ink)[own], _sides(around)[own]
        target[own, 10:12] = np.cos(truth.angle), np.sin(truth.angle)
        target[own, MARKED] = 1
    nearest = np.full(CELLS, np.inf)
    for page in scene.cheques:
        sheet = np.array(box(page.corners)) * scale
        away = _away(sheet)
        target[:, :, 1] = np.maximum(target[:, :, 1], _bump(*away, 2.0))
        own = _nearest(nearest, np.hypot(*away), 3.0)
        target[own, 12:16] = _sides(sheet)[own]
        target[own, 16:18] = np.cos(page.angle), np.sin(page.angle)
        target[own, PAGED] = 1
    if not is_near(target):
        target[:, :, HEATED] = target[:, :, MARKED] = 0
    return picture(scene.grey).astype(np.float16), target.astype(np.float16)


def is_near(target: np.ndarray) -> bool:
    """Would signatures be sought in this picture? Where all cheques are small or lie on their side, only the cheques
    are, for a second look (`embeddings.finder`): signatures then come in about one size, and are learned sooner."""
    pages = target[target[:, :, PAGED] > 0]
    level = np.abs(pages[:, 17]) <= LYING
    wide = pages[:, 12] + pages[:, 14] >= NEAR * CELLS[1]
    return not len(pages) or bool((level & wide).any())


ROWS, COLUMNS = np.mgrid[0.5 : CELLS[0], 0.5 : CELLS[1]]  # middles of the cells


def _away(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every cell's way from the middle of a box, in cells."""
    return COLUMNS - part[0] - part[2] / 2, ROWS - part[1] - part[3] / 2


def _nearest(best: np.ndarray, away: np.ndarray, reach: float) -> np.ndarray:
    """Cells within reach that are nearer to this middle than to any before; `best` is updated."""
    own = (away < reach) & (away < best)
    best[own] = away[own]
    return own


def _sides(part: np.ndarray) -> np.ndarray:
    """Every cell's distances to a box's left, top, right and bottom, in cells."""
    return np.stack([COLUMNS - part[0], ROWS - part[1], part[0] + part[2] - COLUMNS, part[1] + part[3] - ROWS], -1)


def _bump(x: np.ndarray, y: np.ndarray, spread: float) -> np.ndarray:
    """Gaussian that is exactly 1 in the cell that holds its middle."""
    value = np.exp(-(x**2 + y**2) / (2 * spread**2))
    value[(np.abs(x) <= 0.5) & (np.abs(y) <= 0.5)] = 1
    return value


def _share_inside(ink: np.ndarray, scene: Scene, scale: float) -> float:
    h, w = (side * scale for side in scene.grey.shape)
    across = min(ink[0] + ink[2], w) - max(ink[0], 0)
    down = min(ink[1] + ink[3], h) - max(ink[1], 0)
    return max(across, 0) * max(down, 0) / max(ink[2] * ink[3], 1e-6)


def loss(target, answer):
    """Focal loss of both heats (Law and Deng, 2018), overlap and distance of boxes, directions; mean over images."""
    target = ops.cast(target, "float32")
    heat = _focal(target[..., 0], answer[..., 0], target[..., HEATED])
    cheque = _focal(target[..., 1], answer[..., 1], ops.ones_like(target[..., 0]))
    far = sum(_box_loss(target[..., at : at + 4], answer[..., at : at + 4]) for at in (2, 6))
    marked = _mean(far + _way_loss(target, answer, 10), target[..., MARKED])
    page = _box_loss(target[..., 12:16], answer[..., 12:16]) + _way_loss(target, answer, 16)
    return ops.mean(heat + 0.3 * cheque + marked + 0.3 * _mean(page, target[..., PAGED]))


def _mean(losses, counts):
    return ops.sum(counts * losses, axis=(1, 2)) / ops.maximum(ops.sum(counts, axis=(1, 2)), 1.0)


def _way_loss(target, answer, at: int):
    return ops.sum((target[..., at : at + 2] - answer[..., at : at + 2]) ** 2, axis=-1)


def _focal(wanted, logit, counts):
    logit = ops.clip(logit, -12.0, 12.0)
    chance = ops.sigmoid(logit)
    hit = ops.cast(wanted > 0.999, "float32")
    right = hit * (1 - chance) ** 2 * ops.softplus(-logit)
    wrong = (1 - hit) * (1 - wanted) ** 4 * chance**2 * ops.softplus(logit)
    found = ops.maximum(ops.sum(hit, axis=(1, 2)), 1.0)
    return ops.sum(counts * (right + wrong), axis=(1, 2)) / found


def _box_loss(wanted, answer):
    """1 - generalised IoU (Rezatofighi et al., 2019) and a share of the absolute distance in cells."""
    reach = ops.maximum(answer, 0.01)
    area = (wanted[..., 0] + wanted[..., 2]) * (wanted[..., 1] + wanted[..., 3])
    other = (reach[..., 0] + reach[..., 2]) * (reach[..., 1] + reach[..., 3])
    low, high = ops.minimum(wanted, reach), ops.maximum(wanted, reach)
    both = ops.maximum(low[..., 0] + low[..., 2], 0.0) * ops.maximum(low[..., 1] + low[..., 3], 0.0)
    hull = (high[..., 0] + high[..., 2]) * (high[..., 1] + high[..., 3])
    union = area + other - both
    overlap = both / (union + 1e-3) - (hull - union) / (hull + 1e-3)
    return 1 - overlap + 0.1 * ops.mean(ops.abs(wanted - answer), axis=-1)
