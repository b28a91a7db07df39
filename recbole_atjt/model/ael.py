"""AEL: three denoising autoencoders, one inside the other, and a gate that chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AutoEncoderMixin, GeneralRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.model.ael_settings import PARENTS, STAGES, AELSettings
from recbole_atjt.model.autoencoder import SubAutoencoder
from recbole_atjt.model.gate import NoisyTopKGate, importance_loss, load_loss
from recbole_atjt.model.staged import Stage, StagedModel
from recbole_atjt.settings.declared import read_settings

#: Users whose gate is read at once.
_USERS = 4096


class AEL(StagedModel, GeneralRecommender, AutoEncoderMixin):
    """Adaptive Ensemble Learning (Chen, He, Liu 2024, arXiv 2409.12730).

    Sub-autoencoders ``large``, ``medium`` and ``small`` make three parents: mild is large; moderate
    is medium inside large, so it encodes with large, autoencodes the code with medium, and decodes
    with large; strong has small inside medium inside large. A user's vector x goes to the gate,
    whose weights add the parents' reconstructions. Stages train large, medium, small and the gate,
    each with everything before it frozen.

    Args:
        config: RecBole's configuration or ours; ``properties/model/AEL.yaml`` explains the keys.
        dataset: The training dataset.

    Raises:
        UsageError: A setting is of the wrong type or out of range.
    """

    input_type = InputType.POINTWISE
    trains_on_users = True
    predicts_probabilities = True
    settings_class = AELSettings

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.settings = read_settings(AELSettings, config)
        self._epochs, self._learning_rate = config["epochs"], config["learning_rate"]
        self.build_histroy_items(dataset)
        self.corrupt = nn.Dropout(self.settings.ael_corruption)
        widths = (self.n_items, *self.settings.ael_hidden_sizes)
        self.autoencoders = nn.ModuleDict(
            {
                name: SubAutoencoder(self.n_users, *sizes)
                for name, sizes in zip(STAGES, zip(widths, widths[1:]))
            }
        )
        self.apply(xavier_normal_initialization)
        self.gate: NoisyTopKGate | None = NoisyTopKGate(
            self.n_items, len(PARENTS), self.settings.ael_top_k
        )
        self._drop_unused()
        self._stage: str | None = None
        self.finish_stages()

    def _drop_unused(self) -> None:
        """Keep what ``ael_combine`` needs; all was built, so that a seed gives the same start."""
        needed = {stage.name for stage in self.stages}
        for name in [name for name in self.autoencoders if name not in needed]:
            del self.autoencoders[name]
        if "gate" not in needed:
            self.gate = None

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages that ``ael_combine`` needs; RecBole's ``epochs`` caps each of them."""
        combine = self.settings.ael_combine
        count = PARENTS.index(combine) + 1 if combine in PARENTS else len(PARENTS)
        found = []
        for name, epochs in zip(STAGES, self.settings.ael_epochs):
            rate = self.settings.ael_gate_learning_rate if name == "gate" else self._learning_rate
            found.append(Stage(name, min(epochs, self._epochs), rate))
        return found if combine == "gate" else found[:count]

    def start_stage(self, name: str) -> nn.Module:
        """Freeze all but the part that a stage trains, and predict with it; return the part.

        Args:
            name: ``large``, ``medium``, ``small`` or ``gate``.
        """
        part = self.gate if name == "gate" else self.autoencoders[name]
        assert part is not None
        self.requires_grad_(False)
        part.requires_grad_(True)
        self._stage = name
        self.combine = "gate" if name == "gate" else PARENTS[STAGES.index(name)]
        return part

    def finish_stages(self) -> None:
        """Predict as ``ael_combine`` says."""
        self.combine = self.settings.ael_combine

    def parents(self, x: Tensor, user: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Return reconstructions ``[B, n_items]``, one for each named parent.

        Args:
            x: ``[B, n_items]`` the users' vectors.
            user: ``[B]`` the users.
            names: Any of mild, moderate and strong, in this order.
        """
        found: list[Tensor] = []
        passed: list[SubAutoencoder] = []
        code = x
        for name, autoencoder in zip(PARENTS, self.autoencoders.values()):
            assert isinstance(autoencoder, SubAutoencoder)
            passed.append(autoencoder)
            code = autoencoder.encode(code, user)
            if name in names:
                found.append(_decode(code, passed))
        return found

    def calculate_loss(self, interaction: Interaction) -> Tensor | tuple[Tensor, ...]:
        """Return the stage's reconstruction loss; in the gate's stage with the balancing losses.

        The loss is the mean squared error on observed items and sampled negatives of the users in
        the batch; users without a training interaction are left out.

        Raises:
            UsageError: No stage was started.
        """
        if self._stage is None:
            raise UsageError("model=AEL is trained in stages: use recbole_atjt.StagedTrainer")
        user = interaction[self.USER_ID]
        x = self.get_rating_matrix(user)
        rows = x.any(dim=1)
        user, x = user[rows], x[rows]
        counted = self._observed_and_negatives(x)
        corrupted = self.corrupt(x)
        if self._stage != "gate":
            (decoded,) = self.parents(corrupted, user, [self.combine])
            return squared_error(decoded, x, counted)
        assert self.gate is not None
        weights, chances = self.gate(x)
        decoded = _weighted_sum(weights, self.parents(corrupted, user, PARENTS))
        return (
            squared_error(decoded, x, counted),
            self.settings.ael_importance * importance_loss(weights),
            self.settings.ael_load * load_loss(chances),
        )

    def _observed_and_negatives(self, x: Tensor) -> Tensor:
        """Tell which items of each row count: observed ones and ``ael_negatives`` random others.

        Args:
            x: ``[B, n_items]`` the users' vectors.
        """
        observed = x > 0
        keys = torch.rand_like(x).masked_fill_(observed, 2.0)
        keys[:, 0] = 2.0
        count = min(self.settings.ael_negatives, self.n_items)
        negatives = keys.topk(count, dim=1, largest=False).indices
        counted = observed.scatter(1, negatives, True)
        counted[:, 0] = False
        return counted

    def forward(self, user: Tensor) -> Tensor:
        """Return the scores ``[B, n_items]`` of all items for users ``[B]``."""
        x = self.get_rating_matrix(user)
        if self.combine in PARENTS:
            return self.parents(self.corrupt(x), user, [self.combine])[0]
        decoded = self.parents(self.corrupt(x), user, PARENTS)
        if self.combine == "average":
            return torch.stack(decoded).mean(dim=0)
        assert self.gate is not None
        return _weighted_sum(self.gate(x)[0], decoded)

    def predict(self, interaction: Interaction) -> Tensor:
        """Return the score of each row's item, ``[B]``."""
        scores = self.forward(interaction[self.USER_ID])
        return scores.gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Return the scores of all items, ``[B * n_items]``."""
        return self.forward(interaction[self.USER_ID]).view(-1)

    @torch.no_grad()
    def gate_choices(self) -> dict[str, float] | None:
        """Return the share of users that the gate gives each choice of experts, without noise.

        Returns:
            Shares such as ``{"mild+moderate": 0.5, "mild+strong": 0.2, "moderate+strong": 0.3}``
            of the users with training interactions; None where no gate chooses.
        """
        if self.gate is None or self.combine != "gate":
            return None
        counts: dict[str, int] = {}
        users = 0
        for part in torch.arange(1, self.n_users, device=self.device).split(_USERS):
            x = self.get_rating_matrix(part)
            chosen = self.gate.choose(x[x.any(dim=1)])
            users += len(chosen)
            for experts in combinations(range(len(PARENTS)), self.settings.ael_top_k):
                name = "+".join(PARENTS[expert] for expert in experts)
                counts[name] = counts.get(name, 0) + int(chosen[:, experts].all(dim=1).sum())
        return {name: count / max(1, users) for name, count in counts.items()}


def squared_error(decoded: Tensor, x: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of ``(decoded - x)^2`` over the entries that count; 0 where none does.

    Args:
        decoded: ``[B, n_items]`` reconstructions.
        x: ``[B, n_items]`` what they should be.
        counted: ``[B, n_items]`` True for entries that count.
    """
    errors = (decoded - x).square() * counted
    return errors.sum() / counted.sum().clamp(min=1)


def _decode(code: Tensor, passed: Sequence[SubAutoencoder]) -> Tensor:
    """Decode a code with the autoencoders it passed, the innermost first."""
    for autoencoder in reversed(passed):
        code = autoencoder.decode(code)
    return code


def _weighted_sum(weights: Tensor, decoded: Sequence[Tensor]) -> Tensor:
    """Add ``decoded`` reconstructions with the weights ``[B, m]`` of their rows."""
    return (torch.stack(list(decoded), dim=1) * weights.unsqueeze(2)).sum(dim=1)
