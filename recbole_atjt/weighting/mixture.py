r"""The noise channel: observed clicks as a mixture of clean ones and of noise without a history.

.. math:: p_o(y | s) = (1 - e) \, p(y | s) + e \, q(y)

e is the share of noise, q its distribution over items, p the recommender's likelihood. Both e and q
come from a test of independence that no miscalibration of p can fool; where a head allows no such
test, from the posteriors alone, by EM.

Both say how much noise there is at most: what a model has not learned yet looks like noise. So e
comes down while the model learns, and weights use only what of it has settled
(:class:`~recbole_atjt.weighting.settling.SettledShare`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_atjt.weighting.base import Evidence
from recbole_atjt.weighting.held_out import HeldOutPairs
from recbole_atjt.weighting.likelihood import clicked, log_odds, target_scores
from recbole_atjt.weighting.looking import Looking
from recbole_atjt.weighting.met_clicks import Asked
from recbole_atjt.weighting.random_histories import RandomHistories, compared
from recbole_atjt.weighting.settling import SettledShare
from recbole_atjt.weighting.tail import TAIL, independent, noise_of_items, standard_error

#: Random histories that a target is compared with.
COMPARED = 128
#: Least part of an item's clicks that is taken for clean.
_LEAST_CLEAN = 0.02
#: Largest share of noise that a softmax is taken to have learned.
_MOST_KEPT = 0.95
#: What the likelihood of a model that was trained on a click says beside its neighbours.
_LIKELIHOOD_PART = 0.5
#: Share of noise of an item's clicks, at most, that is reckoned with there: beside more of it what
#: neighbours say of the clean ones would be their error, many times over.
_MOST_OF_ITEM = 0.5
#: Keeps an exponential finite.
_LARGEST_EXPONENT = 60.0
#: Every so many batches, at least, scores under random histories are asked for where weights need
#: them, and at most where targets change histories for it.
_OFTEN = 8
_SEED = 20260


class NoiseMixture(nn.Module):
    r"""Share and distribution of noise, learned from posteriors.

    Args:
        item_frequency: Training frequency of each item, ``[n_items]``; entry 0 is the padding.
        share: e at the start.
        learn: Whether e and q are learned.
        cap: Largest e.
        smoothing: Weight a of the unigram distribution in q, relative to the posteriors' mass.
        held_out: Part of all pairs of user and item that no loss sees, where the model learns
            them by heart (:class:`~recbole_atjt.weighting.held_out.HeldOutPairs`).
    """

    unigram: Tensor
    noise: Tensor
    share: Tensor
    mass: Tensor
    clicks: Tensor
    trained: Tensor
    kept: Tensor

    def __init__(
        self,
        item_frequency: Tensor,
        share: float,
        learn: bool,
        cap: float,
        smoothing: float,
        held_out: float = 0.0,
    ) -> None:
        super().__init__()
        self.learn, self.cap, self.smoothing = learn, cap, smoothing
        frequency = item_frequency.double() + 0.5
        frequency[0] = 0.0
        unigram = (frequency / frequency.sum()).float()
        self.register_buffer("unigram", unigram)
        self.register_buffer("noise", unigram.clone())
        self.register_buffer("share", torch.tensor(float(share), dtype=torch.float64))
        #: What of e weights use.
        self.settled = SettledShare(share, cap)
        #: Of noise and of all clicks: their number, and the sum of their weights in training.
        self.register_buffer("trained", torch.zeros(2, 2, dtype=torch.float64))
        #: Share of noise in what the model was trained on, as far as it shows in a softmax.
        self.register_buffer("kept", torch.zeros((), dtype=torch.float64))
        self._shows_kept = False
        #: Of each item: sum of its clicks' posteriors of being noise, and their number.
        self.register_buffer("mass", torch.zeros(len(unigram), dtype=torch.float64))
        self.register_buffer("clicks", torch.zeros(len(unigram), dtype=torch.float64))
        self.histories = RandomHistories(len(unigram))
        self.pairs = HeldOutPairs(len(unigram), held_out if learn else 0.0)
        self.looking = Looking(int(item_frequency.sum()), len(unigram))
        #: Tells the share of noise in the clicks on each item, ``[n_items]``, before training; None
        #: where nothing is known.
        self.elsewhere: Callable[[Asked], Tensor | None] | None = None
        self._warm_up = 0
        #: Whether weights may differ from 1 in this epoch.
        self.weighs = share > 0
        #: Whether they are those of items alone: the model knows nothing of histories yet.
        self.by_items = False
        self._generator: torch.Generator | None = None
        self._tables: dict[str, Tensor] = {}  # of items, for the noise and share of that state
        self._tables_of: tuple[int, ...] = ()

    def start(self, epoch: int, warm_up: int = 0) -> None:
        """Seed the draws of an epoch, which leave the training's own random numbers alone.

        Args:
            epoch: Its number.
            warm_up: First epochs after training has begun again, in which a model's likelihood
                says nothing yet.
        """
        device = self.noise.device
        self._generator = torch.Generator(device=device).manual_seed(_SEED + epoch)
        self._warm_up = warm_up
        self._choose_weights()
        for part in (self.looking, self.histories, self.pairs):
            part.start()

    def _choose_weights(self) -> None:
        """Say how the epoch at hand weighs."""
        self.weighs = bool(self.settled.value > 0)
        self.by_items = 1 <= int(self.settled.begun) <= self._warm_up

    def in_epoch(self) -> dict[str, Any]:
        """Return where the draws of the epoch are."""
        state = None if self._generator is None else self._generator.get_state()
        batch, apart = self.looking.batch, self.looking.apart
        scores = self.histories.scores
        return {"generator": state, "batch": batch, "apart": apart, "scores": scores}

    def go_on_in_epoch(self, state: Mapping[str, Any]) -> None:
        """Go on with the draws of an epoch that was started."""
        if self._generator is not None and state["generator"] is not None:
            self._generator.set_state(state["generator"])
        self.looking.batch, self.looking.apart = int(state["batch"]), int(state["apart"])
        scores = state["scores"]
        self.histories.scores = None if scores is None else scores.to(self.noise.device)

    def draw(self, distribution: Tensor, count: int) -> Tensor:
        """Draw items from a distribution ``[n_items]``, with replacement, ``[count]``."""
        return torch.multinomial(distribution, count, replacement=True, generator=self._generator)

    def log_likelihood(self, evidence: Evidence) -> Tensor:
        r"""Return :math:`\log p(y | s)` of each sequence's target, without a graph, ``[S]``.

        * A softmax over items: :math:`-l`.
        * Single items scored (BCE, BPR): see :meth:`log_likelihood_of`.
        * A loss of pairs that shows no scores: the logit of p / (k u) for u uniform over n items,
          :math:`p = \frac{1}{n} \frac{e^{-l}}{1 - e^{-l}}`, noisy.

        Args:
            evidence: A batch.
        """
        score = target_scores(evidence)
        if score is not None:
            return self.log_likelihood_of(evidence.item, score)
        loss = evidence.loss.detach().float()[: len(evidence.item)]
        if evidence.logits is None and evidence.negative is not None:
            return log_odds(loss) - math.log(max(1, len(self.unigram) - 1))
        return -loss

    def log_likelihood_of(self, item: Tensor, score: Tensor) -> Tensor:
        r"""Return :math:`\log p(y | s)` of items that a model scored one by one, ``[m]``.

        .. math:: p(y | s) = f_c(y) \, \frac{e^{score(s, y)}}{E_{s'} e^{score(s', y)}},
            \quad f_c = \frac{f - e \, q}{1 - e}

        The score under random histories takes the place of what a head of this kind does not know:
        its normaliser, and how often the item is clicked, which such a head learns late. The
        mean of p over histories is then the frequency :math:`f_c` of the item's clean clicks.
        Where pairs are held out the score tells nothing, and p is :math:`f_c`.

        Args:
            item: Items, ``[m]``.
            score: Their logits, ``[m]``.
        """
        clean = self._log_clean()[item].to(score)
        return clean if self.pairs.active else self.histories.lift(item, score) + clean

    def _log_clean(self) -> Tensor:
        r"""Return :math:`\log f_c` of all items, made anew where share or noise have changed."""
        return self._kept("clean", self._make_log_clean)

    def _make_log_clean(self) -> Tensor:
        frequency, share = self.unigram.double(), self.share
        left = torch.maximum(frequency - share * self.noise, _LEAST_CLEAN * frequency)
        return (left / (1 - share)).clamp_min(1e-30).log()

    def _log_noise(self) -> Tensor:
        r"""Return :math:`\log q` of all items, made anew where the noise has changed."""
        return self._kept("noise", lambda: torch.log(self.noise.clamp_min(1e-30)))

    def _kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return a table of items that depends on noise and share, from memory while these stay."""
        state = (id(self.noise), self.noise._version, id(self.share), self.share._version)
        if self._tables_of != state:
            self._tables_of, self._tables = state, {}
        if name not in self._tables:
            self._tables[name] = make()
        return self._tables[name]

    def watch(self, evidence: Evidence) -> bool:
        """Look at a batch before its likelihoods are asked for.

        Returns:
            Whether it is one to learn from.
        """
        learn = self.learn and torch.is_grad_enabled()
        self._shows_kept = evidence.logits is not None
        self.pairs.notice(evidence)
        if learn and evidence.epoch == 0 and self.looking.batch == 0:
            self._ask(evidence)
        every = self.looking.every(self.pairs.part if self.pairs.active else 1.0)
        follows = evidence.all_items is None and evidence.swapped is not None
        self.looking.apart = 1 if follows and not self.pairs.active else every
        looks = learn and self.looking.looks
        if not self.pairs.active:
            number = self.looking.batch
            renews = not learn or (self.weighs and number % min(every, _OFTEN) == 0)
            swaps = number % max(every, _OFTEN) == 0
            self.histories.watch(evidence, self._generator, looks, renews, swaps)
        elif looks:
            self.pairs.watch(evidence, self._generator)
        self.looking.batch += learn
        return looks

    @torch.no_grad()
    def _ask(self, evidence: Evidence) -> None:
        """Begin with what is told of the noise without the model, which then stays.

        What a model without a softmax says of its clicks is little, and comes late. One with a
        softmax finds items that noise fell on by itself, but of noise that is spread over all items
        it learns ever more by heart, and then takes it for clean. Told that there is no noise, a
        model is trained plainly.
        """
        if self.elsewhere is None:
            return
        if evidence.logits is not None:
            asked = Asked.SPREAD
        else:
            asked = Asked.ANY if self.pairs.active else Asked.OF_ITEMS
        told = self.elsewhere(asked)
        self.elsewhere = None  # that is asked once
        if told is None:
            return
        noisy = told.to(self.unigram.device) * self.unigram
        share = noisy.double().sum()
        self._take_over(noisy, share)
        self.pairs.let_go()
        if self.settled.is_worth(share):
            self.settled.begin(share)
        else:
            self.settled.value.zero_()
            self.looking.rest()
        self._choose_weights()

    def log_lift(self, item: Tensor, log_p: Tensor) -> Tensor:
        r"""Return :math:`\log p(y | s) - \log q(y)`, of the shape of ``item`` and ``log_p``.

        A softmax that was trained on clicks of which a share k is noise has learned
        :math:`p_o = (1-k) \, p + k \, q`; what is left of it without that noise, a fiftieth at
        least, is p.
        """
        lift = log_p - self._log_noise()[item]
        if not self._shows_kept:
            return lift
        kept = self.kept.to(lift)
        learned = kept * torch.exp((-lift).clamp_max(_LARGEST_EXPONENT))
        left = (1 - learned).clamp_min(_LEAST_CLEAN)
        return lift + torch.log(left) - torch.log1p(-kept)

    def clean_posterior(self, item: Tensor, log_p: Tensor) -> Tensor:
        r"""Return :math:`P(clean | s, y) = (1-e) p / ((1-e) p + e q)`; 1 where e is 0.

        Args:
            item: Targets, ``[S]``.
            log_p: Their log-likelihoods, ``[S]``.
        """
        return self.posterior(self.log_lift(item, log_p))

    def posterior(self, ratio: Tensor) -> Tensor:
        """Return the same from the log-ratios of clean clicks and noise, ``[S]``."""
        return _posterior(self.share, ratio)

    def weight(self, item: Tensor, ratio: Tensor, near: Tensor | None = None) -> Tensor:
        r"""Return the posterior with the share that has settled, ``[S]``; exactly 1 where it is 0.

        While a model that has begun again warms up, its likelihood is that of its first parameters,
        and would choose the clicks that it is trained on. A click's weight is then what its item
        says, :math:`(f - e \, q) / f`.

        Args:
            item: Targets, ``[S]``.
            ratio: Their log-ratios of clean clicks and noise, ``[S]``.
            near: What their neighbours say, see :meth:`pooled`; None for nothing.
        """
        share = self.settled.value
        if self.by_items:
            ratio = self._of_item(item, ratio)
        if near is not None:
            ratio = self.pooled(item, ratio, near)
        return torch.where(share > 0, _posterior(share, ratio), torch.ones_like(ratio))

    def _of_item(self, item: Tensor, like: Tensor) -> Tensor:
        r"""Return :math:`\log f_c - \log q` of targets, ``[S]``, as ``like``."""
        return (self._log_clean()[item] - self._log_noise()[item]).to(like)

    def pooled(self, item: Tensor, ratio: Tensor, near: Tensor) -> Tensor:
        r"""Return log-ratios with what neighbours in other users' clicks say, ``[S]``.

        Observed clicks on y are noise by :math:`e_y = e \, q / f`, so that of the ratio
        :math:`p_o / f` of clicks with such neighbours :math:`(p_o / f - e_y) / (1 - e_y)` is that
        of clean ones. It takes the place of half of what the likelihood says beyond the item: a
        model that was trained on a click believes it, clean or not.

        Args:
            item: Targets, ``[S]``.
            ratio: Their log-ratios by the likelihood, ``[S]``.
            near: :math:`\log p_o(y | neighbours) - \log f(y)`, NaN where nothing is known, ``[S]``.
        """
        frequency = self.unigram[item].clamp_min(1e-30)
        noisy = (self.share * self.noise[item] / frequency).to(ratio).clamp_max(_MOST_OF_ITEM)
        clean = (near.to(ratio).exp() - noisy) / (1 - noisy)
        of_item = self._of_item(item, ratio)
        said = of_item + _LIKELIHOOD_PART * (ratio - of_item)
        told = said + clean.clamp_min(_LEAST_CLEAN).log()
        return torch.where(near.isnan(), ratio, told)

    def shares(self) -> dict[str, float]:
        """Return the share of noise, and what of it has settled and weights use from now on."""
        return {"noise_share": float(self.share), "weighted_share": float(self.settled.value)}

    def give(self, share: float) -> None:
        """Take a share as known, for weights, too."""
        self.share.fill_(share)
        self.settled.give(share)

    def tests_without_likelihood(self, evidence: Evidence) -> bool:
        """Tell whether :meth:`watch` alone finds the noise, so that likelihoods serve weights only.

        Args:
            evidence: A batch that was watched.
        """
        ranks = evidence.all_items is not None and target_scores(evidence) is not None
        return self.pairs.active or ranks

    @torch.no_grad()
    def count(self, evidence: Evidence) -> Tensor:
        """Count a training batch's clicks; return which targets are clicks, 1 or 0, ``[S]``."""
        counted = clicked(evidence).double()
        self.clicks.index_add_(0, evidence.item, counted)
        return counted

    @torch.no_grad()
    def observe(self, evidence: Evidence, log_p: Tensor, clean: Tensor) -> None:
        """Gather what a training batch says of the noise.

        Args:
            evidence: The batch.
            log_p: Log-likelihoods of its targets, ``[S]``.
            clean: Posteriors of being clean, ``[S]``.
        """
        item, counted = evidence.item, self.count(evidence)
        self.mass.index_add_(0, item, (1.0 - clean.double()) * counted)
        if evidence.logits is not None:
            rank = self._rank_of_logits(evidence, log_p)
            self.histories.count(item, (rank < TAIL) * counted, counted)

    def _rank_of_logits(self, evidence: Evidence, log_p: Tensor) -> Tensor:
        """Return the share of random histories under which a target is less likely, ``[S]``.

        Where target and history are independent it is uniform over [0, 1], whatever p is.
        """
        logits, item = evidence.logits, evidence.item
        assert logits is not None
        own = logits.gather(1, item.unsqueeze(1)).squeeze(1).float()
        normaliser = own - log_p  # log of the softmax's denominator of each row
        size = (min(COMPARED, len(item)),)
        row = torch.randint(len(item), size, device=item.device, generator=self._generator)
        other = logits[row.unsqueeze(1), item.unsqueeze(0)].float() - normaliser[row].unsqueeze(1)
        chance = torch.rand(len(item), device=item.device, generator=self._generator)
        below, equal = compared(other, log_p)
        return below.mean(0) + chance * equal.mean(0)  # ties at random: uniform

    @torch.no_grad()
    def note(self, clean: Tensor, weights: Tensor, click: Tensor) -> None:
        """Gather how much of the noise a training batch keeps.

        Args:
            clean: Posteriors of being clean, ``[S]``.
            weights: What sequences are trained with, ``[S]``.
            click: Which of them are clicks, ``[S]``.
        """
        counted = click.double()
        noise = (1.0 - clean.double()) * counted
        each = torch.stack((torch.ones_like(counted), weights.double()), dim=1)
        self.trained += torch.stack((noise, counted)) @ each

    def _keep(self) -> None:
        """Tell from an epoch's weights which share of what it trained on was noise."""
        (noise, noise_weight), (clicks, weight) = self.trained.tolist()
        if noise > 0 and weight > 0:
            part = (noise_weight / noise) / (weight / clicks)
            self.kept.copy_((self.share * min(1.0, part)).clamp_max(_MOST_KEPT))

    @torch.no_grad()
    def update(self, from_posteriors: bool = True) -> None:
        """Learn e and q from what was gathered since the last update.

        Args:
            from_posteriors: Whether an e of 0 stays there, as in EM. Where the posterior takes e as
                given, the test alone says.
        """
        targets = self.clicks.sum()
        self.settled.end_epoch()
        if self.learn and not self.looking.rests and float(targets) > 0:
            if not bool(self.pairs.released):
                self._learn_from_clicks(float(targets), from_posteriors)
            self._keep()
        self.trained.zero_()
        self.mass.zero_()
        self.clicks.zero_()

    def _learn_from_clicks(self, targets: float, from_posteriors: bool) -> None:
        """Learn e and q from ``targets`` clicks, see :meth:`update`."""
        noisy = self._noisy_clicks()
        share = noisy.sum() / targets
        if from_posteriors and not self.pairs.active:
            share = share * (self.share > 0)
        if self.settled.counts(share):
            self._learn(noisy, share)

    def conclude(self) -> None:
        """Hold no pairs out any longer, whatever they have told so far."""
        self.settled.begins_again = self.pairs.give_up()
        if self.settled.begins_again:
            self.settled.take(self.share, last=True)

    def _take_over(self, noisy: Tensor, share: Tensor) -> None:
        """Take over the noisy clicks on each item, ``[n_items]``, and their share."""
        found = noisy + self.smoothing * noisy.sum() * self.unigram
        if float(found.sum()) > 0:
            self.noise.copy_(found / found.sum())
        self.share.copy_(share.clamp(0.0, self.cap))

    def _learn(self, noisy: Tensor, share: Tensor) -> None:
        """Learn from the noisy clicks on each item, ``[n_items]``, and their share."""
        self._take_over(noisy, share)
        if self.pairs.active:
            self.settled.take(share, last=self.pairs.release())
            return
        tail, compared = self.histories.tail.sum(0)
        error = standard_error(tail, compared) if float(compared) > 0 else None
        self.settled.learn(share, error)
        if error is not None and not bool(self.settled.value > 0):
            self.looking.found(share, error)

    def _noisy_clicks(self) -> Tensor:
        """Return how many clicks on each item are noise, ``[n_items]``.

        The test of independence says it (:func:`~recbole_atjt.weighting.tail.noise_of_items`), or
        held-out pairs; without either, the posteriors.
        """
        if self.pairs.active:
            return self.pairs.shares() * self.clicks
        tail, compared = self.histories.tail.unbind(1)
        if not float(compared.sum()):
            return self.mass
        if float(independent(tail.sum(), compared.sum())) <= 0:
            return torch.zeros_like(self.mass)
        return noise_of_items(tail, compared, self.clicks) * self.clicks

    def suspects(self, count: int) -> list[tuple[int, float]]:
        """Return the items that q gives most, with their probability under it."""
        top = self.noise.topk(min(count, len(self.noise)))
        return list(zip(top.indices.tolist(), top.values.tolist()))


def _posterior(share: Tensor, ratio: Tensor) -> Tensor:
    """Return :math:`(1-e) c / ((1-e) c + e)` of log-ratios ``ratio = log c``, of their shape."""
    share = share.to(ratio)
    return torch.sigmoid(torch.log1p(-share) - torch.log(share) + ratio)
