"""The loss: logistic regression over all pairs of a batch, each kind of pair with its own share."""

from __future__ import annotations

import keras
from keras import ops

GENUINE, SKILLED, SAME_TEXT, OTHER = "genuine", "skilled", "same_text", "other"


def pair_kinds(labels) -> dict[str, object]:
    """Masks float32 (n, n) of the pairs that count, from labels int (n, 3) of owner, text and genuine (1 or 0).

    genuine    both genuine, one owner: the only positive pairs
    skilled    one genuine, one forged, one owner
    same_text  different owners of the same words
    other      different owners of different words, **whether genuine or forged**: if forgeries stayed out, "was
               it forged?" would be told apart by anything that the two scanning sessions left behind
    """
    owner, text, genuine = labels[:, 0], labels[:, 1], labels[:, 2]
    mate = ops.equal(owner[:, None], owner[None])
    twin = ops.equal(text[:, None], text[None])
    agree = genuine[:, None] + genuine[None]
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    kinds = {
        GENUINE: ops.logical_and(ops.logical_and(mate, ops.equal(agree, 2)), ops.logical_not(itself)),
        SKILLED: ops.logical_and(mate, ops.equal(agree, 1)),
        SAME_TEXT: ops.logical_and(twin, ops.logical_not(mate)),
        OTHER: ops.logical_not(ops.logical_or(twin, mate)),
    }
    return {kind: ops.cast(mask, "float32") for kind, mask in kinds.items()}


@keras.saving.register_keras_serializable("countersign")
class AllPairsLoss(keras.losses.Loss):
    """Balanced logistic loss of the logits (n, n) of all pairs: half for genuine pairs, half for impostors.

    Among impostors of a kind the hard ones count more (a softmax over their logits, not differentiated): most
    strangers are told apart soon, and the few that are not make the random error.
    """

    def __init__(
        self, skilled: float = 0.5, same_text: float = 0.2, other: float = 0.3, hardness: float = 0.3, **options
    ) -> None:
        super().__init__(**{"name": "all_pairs", "reduction": "sum", **options})
        self.shares = {SKILLED: skilled, SAME_TEXT: same_text, OTHER: other}
        self.hardness = hardness

    def call(self, labels, logits):
        kinds = pair_kinds(ops.cast(labels, "int32"))
        genuine = kinds.pop(GENUINE)
        loss = 0.5 * _mean(ops.softplus(-logits), genuine)
        for kind, mask in kinds.items():
            hard = mask * ops.stop_gradient(ops.exp(self.hardness * ops.clip(logits, -30.0, 10.0)))
            loss += 0.5 * self.shares[kind] * _mean(ops.softplus(logits), hard)
        return loss

    def get_config(self):
        return {**super().get_config(), **self.shares, "hardness": self.hardness}


def _mean(values, weights):
    return ops.sum(values * weights) / (ops.sum(weights) + 1e-6)
