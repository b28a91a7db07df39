"""AutoDenoise: a controller that learns weights from validation by REINFORCE (Ge et al., 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.settings.declared import DeclaredSettings, key
from recbole_atjt.weighting.base import Evidence, Weighting

#: softplus(_PLAIN) = 1: the weight that a soft controller starts from.
_PLAIN = math.log(math.e - 1.0)
#: Variance of a soft controller's actions before it has learned anything.
_FIRST_VARIANCE = 0.25
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class AutoDenoiseSettings(DeclaredSettings):
    """The controller, its training and its reward."""

    autodenoise_reward: str = key(
        "AUC",
        "Validation metric that is the controller's reward, higher is better; AUC is computed even "
        "where `metrics` leaves it out.",
    )
    autodenoise_hidden_sizes: tuple[int, ...] = key(
        (64, 32), "Widths of the controller's hidden layers (Eq. 11).", within="[1, inf)"
    )
    autodenoise_learning_rate: float = key(
        0.001,
        "Learning rate of the controller's Adam; the paper searches 0.01 to 0.00005.",
        within="(0, inf)",
    )
    autodenoise_weight_decay: float = key(
        0.00001,
        "L2 penalty of the controller; the paper searches 0.001 to 0.000001.",
        within="[0, inf)",
    )
    autodenoise_baseline_decay: float = key(
        0.5,
        "Decay of the moving average of rewards, the baseline b (Eq. 10), in [0, 1); rewards rise "
        "while training, and a slow average lags behind them.",
        within="[0, 1)",
    )


@dataclass(frozen=True)
class HardAutoDenoiseSettings(AutoDenoiseSettings):
    """The controller's settings, and its actions."""

    autodenoise_actions: int = key(
        3,
        "Number A of actions {0, ..., A-1}, each the weight it gives; 3 deletes, keeps or "
        "duplicates a sequence, 1 only keeps.",
        within="[1, inf)",
    )


class AutoDenoise(Weighting):
    r"""A policy over weights, updated once an epoch (AutoDenoise, Algorithm 1).

    The state of a sequence is the model's representation of it, its target's embedding, its loss
    and the epoch; loss and epoch enter as ``log(1 + x)``, since raw epoch numbers would drown the
    rest. With a sampled negative beside it, its loss is the positive's. After the epoch

    .. math:: \nabla_\Phi J = \frac{R - b}{|D|} \sum_{(u,v)} \nabla_\Phi \log P(w_{uv} | \Phi)

    (Eq. 10), where :math:`R` is a metric on validation data and :math:`b` the moving average of
    the rewards before. The policy is fixed during an epoch and :math:`R - b` is one number, so
    the sum of the gradients is all that is kept: as large as the controller, however long the
    epoch. The first reward only starts :math:`b`. With Algorithm 1's :math:`b = 0` its advantage
    would be the whole AUC, hundreds of times any later one, and Adam's second moment would hold
    on to it for :math:`1 / (1 - \beta_2)` = 1000 epochs.

    The controller takes its input's width from the first batch, or from the state it loads. Its
    output layer starts from zeros, so that all sequences are treated alike at first.
    """

    settings_class = AutoDenoiseSettings
    needs_representation = True
    reward_key = "autodenoise_reward"
    per_sample = False  # its weights are drawn, so they depend on the order of a batch
    #: Width of the controller's output.
    outputs: int

    settings: AutoDenoiseSettings
    baseline: Tensor
    rewards: Tensor
    samples: Tensor
    score: Tensor

    def __init__(self, settings: AutoDenoiseSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.controller: nn.Sequential | None = None
        self.optimizer: torch.optim.Adam | None = None
        self.register_buffer("baseline", torch.zeros((), dtype=torch.float64))
        self.register_buffer("rewards", torch.zeros((), dtype=torch.long))
        self.register_buffer("samples", torch.zeros((), dtype=torch.long))
        self.register_buffer("score", torch.zeros(0))

    def act(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Draw an action for each sequence.

        Args:
            output: What the controller gave, ``[S, outputs]``.

        Returns:
            Weights without a graph, and log-probabilities of the actions (up to a constant) with
            one, ``[S]`` each.
        """
        raise NotImplementedError

    def weigh(self, evidence: Evidence) -> Tensor:
        """Draw the weights of a batch, ``[S]``; a training step also adds to Eq. 10's sum."""
        state = observe(evidence)
        learns = torch.is_grad_enabled()
        if self.controller is None and not learns:  # what a new controller gives
            return self.act(state.new_zeros(len(state), self.outputs))[0]
        controller = self._controller(state.shape[1], state.device)
        with torch.autocast(state.device.type, enabled=False):
            weights, log_probability = self.act(controller(state))
            if learns:
                gradients = torch.autograd.grad(
                    log_probability.sum(), list(controller.parameters()), materialize_grads=True
                )
                self.score += torch.cat([gradient.flatten() for gradient in gradients])
                self.samples += len(state)
        return weights

    def _controller(self, width: int, device: torch.device) -> nn.Sequential:
        if self.controller is None:
            self._build(width, device)
        assert self.controller is not None
        return self.controller

    def _build(self, width: int, device: torch.device) -> None:
        """Make Eq. 11's network for states ``[S, width]``, with its optimiser."""
        settings, layers = self.settings, []
        for size in settings.autodenoise_hidden_sizes:
            layers += [nn.Linear(width, size), nn.ReLU()]
            width = size
        head = nn.Linear(width, self.outputs)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.controller = nn.Sequential(*layers, head).to(device)
        parameters = list(self.controller.parameters())
        self.score = torch.zeros(sum(p.numel() for p in parameters), device=device)
        self.optimizer = torch.optim.Adam(
            parameters,
            lr=settings.autodenoise_learning_rate,
            weight_decay=settings.autodenoise_weight_decay,
        )

    def receive_reward(self, reward: float) -> None:
        """Update the controller by Eq. 10 and the baseline after it (lines 13 and 14).

        Args:
            reward: A metric of the recommender on validation data, higher is better.
        """
        if not int(self.rewards):
            self.baseline.fill_(reward)
        elif int(self.samples):
            self._step((reward - float(self.baseline)) / int(self.samples))
        decay = self.settings.autodenoise_baseline_decay
        self.baseline.mul_(decay).add_((1 - decay) * reward)
        self.rewards += 1
        self.score.zero_()
        self.samples.zero_()

    def _step(self, factor: float) -> None:
        assert self.controller is not None
        assert self.optimizer is not None
        parameters = list(self.controller.parameters())
        parts = self.score.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts):
            parameter.grad = (-factor * part).view_as(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def get_extra_state(self) -> Tensor:
        """Return Adam's step and moments as one vector; empty before the first update."""
        if self.optimizer is None or not self.optimizer.state:
            return torch.zeros(0)
        memory = self.optimizer.state.values()
        rows = [torch.cat([s[name].flatten() for s in memory]) for name in _MOMENTS]
        steps = next(iter(memory))["step"].to(rows[0]).view(1)
        return torch.cat([steps, *rows])

    def set_extra_state(self, state: Tensor) -> None:
        """Take up Adam's step and moments from :meth:`get_extra_state`."""
        if self.controller is None or self.optimizer is None or not len(state):
            return
        parameters = list(self.controller.parameters())
        sizes = [p.numel() for p in parameters]
        moments = [row.split(sizes) for row in state[1:].view(len(_MOMENTS), -1)]
        for index, parameter in enumerate(parameters):
            memory = self.optimizer.state[parameter]
            memory["step"] = state[0].detach().cpu().clone()
            for name, parts in zip(_MOMENTS, moments):
                memory[name] = parts[index].view_as(parameter).to(parameter, copy=True)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        first = state_dict.get(f"{prefix}controller.0.weight")
        if first is not None and self.controller is None:
            self._build(first.shape[1], self.item_frequency.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


_MOMENTS = ("exp_avg", "exp_avg_sq")


def observe(evidence: Evidence) -> Tensor:
    """Return the controller's input ``concat(e_u, e_v, loss, epoch)`` (Eq. 11), ``[S, d + e + 2]``.

    Nothing of it carries a graph. What is not finite is 0 in it: the loss itself tells of that.
    """
    assert evidence.representation is not None
    assert evidence.item_embedding is not None
    loss = evidence.loss.detach()[: len(evidence.item)].float().clamp_min(0).log1p()
    epoch = torch.full_like(loss, math.log1p(evidence.epoch))
    parts = (
        evidence.representation.detach().float(),
        evidence.item_embedding.detach().float(),
        torch.stack((loss, epoch), dim=1),
    )
    return torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0, posinf=0.0, neginf=0.0)


class HardAutoDenoise(AutoDenoise):
    """AutoDenoise-H: a controller that learns from validation deletes, keeps or repeats.

    The weight is drawn from ``{0, ..., A - 1}`` (Eq. 12). With A = 3 a sequence is deleted, kept or
    counted twice. All actions are equally likely at first, which makes the mean weight
    ``(A - 1) / 2``; a single action always keeps.
    """

    settings_class = HardAutoDenoiseSettings

    def __init__(self, settings: HardAutoDenoiseSettings, item_frequency: Tensor) -> None:
        super().__init__(settings, item_frequency)
        self.outputs = settings.autodenoise_actions

    def act(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from ``softmax(output [S, A])``."""
        log_probabilities = functional.log_softmax(output, dim=1)
        action = torch.multinomial(log_probabilities.detach().exp(), 1)
        weights = action.squeeze(1).float() if self.outputs > 1 else output.new_ones(len(output))
        return weights, log_probabilities.gather(1, action).squeeze(1)


class SoftAutoDenoise(AutoDenoise):
    r"""AutoDenoise-S: such a controller gives any positive weight.

    The weight is ``softplus`` of a draw from a normal distribution (Eq. 13 to 16). Both output
    layers start where the mean's softplus is 1 and the variance 0.25. These offsets are constants
    beside the layers' biases, so that the L2 penalty pulls towards plain training.
    """

    outputs = 2

    def act(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from ``N(mean, variance)``, whose parameters ``output [S, 2]`` gives."""
        mean = output[:, 0] + _PLAIN
        offset = math.log(math.expm1(_FIRST_VARIANCE))
        variance = functional.softplus(output[:, 1] + offset).clamp_min(_LEAST_VARIANCE)
        action = (mean + variance.sqrt() * torch.randn_like(mean)).detach()
        log_probability = -0.5 * ((action - mean).square() / variance + variance.log())
        return functional.softplus(action), log_probability
