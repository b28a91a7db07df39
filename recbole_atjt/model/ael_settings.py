"""The keys of AEL."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_atjt.settings.declared import DeclaredSettings, key

#: From the mildest denoising to the strongest.
PARENTS = ("mild", "moderate", "strong")
COMBINATIONS = ("gate", "average", *PARENTS)
#: What each stage trains.
STAGES = ("large", "medium", "small", "gate")


@dataclass(frozen=True)
class AELSettings(DeclaredSettings):
    """AEL's architecture, stages and gate."""

    ael_combine: str = key(
        "gate",
        "What predicts: gate, the plain average of the three parents, or one parent alone: mild, "
        "moderate or strong.",
        choices=COMBINATIONS,
    )
    ael_hidden_sizes: tuple[int, ...] = key(
        (128, 48, 12),
        "Hidden sizes of the large, medium and small sub-autoencoders.",
        within="[1, inf)",
        length=len(PARENTS),
    )
    ael_corruption: float = key(
        0.5,
        "Share of the large autoencoder's input that is masked out in training, in [0, 1).",
        within="[0, 1)",
    )
    ael_negatives: int = key(
        256,
        "Random unobserved items of each user that the squared error counts beside the observed "
        "ones.",
        within="[1, inf)",
    )
    ael_top_k: int = key(
        2, "Experts that the gate chooses for each user, from 1 to 3.", within="[1, 3]"
    )
    ael_importance: float = key(
        0.1, "Weight of the importance loss, at least 0.", within="[0, inf)"
    )
    ael_load: float = key(0.1, "Weight of the load loss, at least 0.", within="[0, inf)")
    ael_epochs: tuple[int, ...] = key(
        (300, 300, 300, 200),
        "Most epochs of the stages large, medium, small and gate; RecBole's `epochs` caps each of "
        "them.",
        within="[1, inf)",
        length=len(STAGES),
    )
    ael_gate_learning_rate: float = key(
        0.0001, "The learning rate of the gate's stage.", within="(0, inf)"
    )
