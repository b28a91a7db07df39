"""The seam, on all of RecBole's sequential and context-aware models and on models from outside."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.loss import BPRLoss
from torch import Tensor, nn
from torch.nn import functional

from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.seam.adapters import find_adapter, register_adapter
from recbole_atjt.seam.criterion import Seam
from recbole_atjt.seam.selftest import verify_seam
from recbole_atjt.seam.substitution import substituted
from tests.contracts import LAWS, ROW_LAWS, loss_of, seed
from tests.models import CONTEXT, MODES, SEQUENTIAL, Case, build, every_loss_type, mode
from tests.tiers import fast

#: One of each way to a loss, for the fast tier.
FEW = ["SASRec", "GRU4Rec", "BERT4Rec", "DIN", "FEARec", "RepeatNet", "S3Rec", "TransRec"]
FEW += ["WideDeep", "DCN", "FM", "KD_DAGFM", "xDeepFM"]
GENERAL = ["BPR", "ConvNCF", "DGCF", "DMF", "FISM", "LightGCN", "MacridVAE", "MultiDAE", "MultiVAE"]
GENERAL += ["NAIS", "NGCF", "NNCF", "NeuMF", "SpectralCF"]
HIDDEN = ["CDAE", "ENMF", "RecVAE", "SGL", "SimpleX"]


def by_name(item: Any) -> str:
    return getattr(item, "__name__", str(item)).replace(" ", "-")


def test_all_of_recboles_models_are_tried() -> None:
    assert (len(SEQUENTIAL), len(CONTEXT)) == (31, 18)


@pytest.mark.parametrize("name", fast(SEQUENTIAL + CONTEXT, FEW))
@pytest.mark.parametrize("law", ROW_LAWS, ids=by_name)
def test_law_in_each_loss_type(law: Callable[[Case], None], name: str) -> None:
    for case in every_loss_type(name):
        law(case)


@pytest.mark.parametrize("name", MODES, ids=by_name)
@pytest.mark.parametrize("law", LAWS, ids=by_name)
def test_law_in_other_modes(law: Callable[[Case], None], name: str) -> None:
    law(mode(name))


@pytest.mark.parametrize("name", GENERAL)
def test_laws_of_general_models(name: str) -> None:
    case = build(name)
    for law in LAWS:
        law(case)


@pytest.mark.parametrize("name", fast(SEQUENTIAL + CONTEXT, FEW))
def test_self_test_accepts(name: str) -> None:
    for case in every_loss_type(name):
        verify_seam(case.model, case.batch)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_model_that_hides_its_loss_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^model={name} hides its loss[^\n]*$"):
        Seam(build(name).model)


def test_rows_that_are_not_the_batchs_are_refused() -> None:
    case = build("GCMC")  # stacks positives and negatives: 2 B losses
    with pytest.raises(UsageError, match=r"^model=GCMC [^\n]* shape \(48,\)[^\n]*24 rows"):
        verify_seam(case.model, case.batch)


def test_line_weighs_each_of_its_losses() -> None:
    case = build("LINE")
    users = case.model.random_list.copy()

    def loss(weights: Tensor | None) -> float:
        case.model.random_pr, case.model.random_list = 0, users.copy()
        found, record = loss_of(case, weights)
        assert record is None or record.calls == 4
        return found.item()

    ones = torch.ones(len(case.batch))
    assert loss(ones) == pytest.approx(loss(None), rel=1e-6)
    assert loss(0 * ones) == 0
    verify_seam(case.model, case.batch)


def test_pretraining_splits_its_sums_by_sequence() -> None:
    model, batch = mode("S3Rec pretraining").model.eval(), mode("S3Rec pretraining").batch
    data = model.reconstruct_pretrain_data(batch["item_id_list"], batch["item_length"])
    with torch.no_grad():
        alone = [
            model.pretrain(*(part[[row]] for part in data)).item() for row in range(len(batch))
        ]
    model.reconstruct_pretrain_data = lambda *_: data
    with Seam(model).reducing(torch.ones_like, rows=len(batch)) as record:
        model.calculate_loss(batch)
    del model.reconstruct_pretrain_data
    model.train()
    assert record.loss is not None
    assert record.loss.tolist() == pytest.approx(alone, rel=1e-5)


class TestBERT4Rec:
    """Its adapter, against a naive loop over masked positions."""

    @pytest.mark.parametrize("loss_type", ["CE", "BPR"])
    def test_each_masked_position_carries_its_sequences_weight(self, loss_type: str) -> None:
        case = next(c for c in every_loss_type("BERT4Rec") if c.name.endswith(loss_type))
        model, batch = case.model.eval(), case.batch
        weights = torch.arange(1.0, len(batch) + 1)
        hidden = model(batch[model.MASK_ITEM_SEQ])
        items, bias = model.item_embedding.weight[: model.n_items], model.output_bias
        total, count = 0.0, 0
        for i in range(len(batch)):
            for slot, index in enumerate(batch[model.MASK_INDEX][i]):
                if index == 0:
                    continue
                scores = items @ hidden[i, index] + bias
                positive = batch[model.POS_ITEMS][i, slot]
                negative = batch[model.NEG_ITEMS][i, slot]
                if loss_type == "CE":
                    loss = -scores.log_softmax(0)[positive]
                else:
                    loss = -(scores[positive] - scores[negative]).sigmoid().log()
                total, count = total + float(weights[i]) * loss.item(), count + 1
        assert loss_of(case, weights)[0].item() == pytest.approx(total / count, rel=1e-5)
        model.train()

    def test_no_masked_position_is_no_loss(self) -> None:
        case = build("BERT4Rec")
        case.batch.interaction[case.model.MASK_INDEX].zero_()
        assert loss_of(case, torch.ones(len(case.batch)))[0].item() == 0


class Outside(SequentialRecommender):
    """A model that keeps RecBole's conventions, from another package."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, 8)
        self.loss_fct = nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=3)
        self.aug_nce_fct = nn.CrossEntropyLoss()

    def score(self, interaction: Any) -> Tensor:
        history = self.item_embedding(interaction[self.ITEM_SEQ]).mean(1)
        return history @ self.item_embedding.weight.transpose(0, 1)

    def calculate_loss(self, interaction: Any) -> Tensor:
        scores, target = self.score(interaction), interaction[self.POS_ITEM_ID]
        return self.loss_fct(scores, target) + 0.1 * self.aug_nce_fct(scores, target)

    def predict(self, interaction: Any) -> Tensor:
        return self.score(interaction).gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        return self.score(interaction)


class Hiding(Outside):
    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        del self.loss_fct

    def calculate_loss(self, interaction: Any) -> Tensor:
        return functional.cross_entropy(self.score(interaction), interaction[self.POS_ITEM_ID])


class Bypassing(Hiding):
    """Has a criterion, and does not use it."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.loss_fct = nn.CrossEntropyLoss()


class Ignoring(Outside):
    """Uses its criterion, and then something else."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        super().calculate_loss(interaction)
        return functional.cross_entropy(self.score(interaction), interaction[self.POS_ITEM_ID])


class Squaring(Outside):
    def calculate_loss(self, interaction: Any) -> Tensor:
        return super().calculate_loss(interaction) ** 2


class Doubtful(Outside):
    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.loss = nn.CrossEntropyLoss()


class Margin(BPRLoss):
    """A criterion of its own form."""

    def forward(self, pos_score: Tensor, neg_score: Tensor) -> Tensor:
        return torch.relu(1 - pos_score + neg_score).mean()


class Coupled(nn.Module):
    """Not the mean of what its rows give by themselves."""

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(scores - scores.mean(0), target)


SETTINGS: dict[str, Any] = {"loss_type": "CE", "train_neg_sample_args": None}


class TestModelsFromOutside:
    def test_laws_hold_with_no_edit(self) -> None:
        case = build(Outside, **SETTINGS)
        case.batch.interaction["item_id"][:4] = 3  # ignored targets: the mean runs over the rest
        for law in ROW_LAWS[:-1]:
            law(case)
        verify_seam(case.model, case.batch)

    def test_hidden_loss_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^model=Hiding hides its loss[^\n]*$"):
            Seam(build(Hiding, **SETTINGS).model)

    def test_unused_criterion_is_refused(self) -> None:
        case = build(Bypassing, **SETTINGS)
        with pytest.raises(UsageError, match=r"^model=Bypassing hides its loss[^\n]*$"):
            verify_seam(case.model, case.batch)

    def test_criterion_without_effect_is_refused(self) -> None:
        case = build(Ignoring, **SETTINGS)
        with pytest.raises(UsageError, match=r"^model=Ignoring [^\n]*: weights do not change it$"):
            verify_seam(case.model, case.batch)

    def test_loss_that_is_not_linear_is_refused(self) -> None:
        case = build(Squaring, **SETTINGS)
        with pytest.raises(UsageError, match=r"^model=Squaring [^\n]*not linear in the weights$"):
            verify_seam(case.model, case.batch)

    def test_two_criteria_need_a_name(self) -> None:
        model = build(Doubtful, **SETTINGS).model
        with pytest.raises(UsageError, match=r"^model=Doubtful [^\n]*\(loss_fct, loss\)[^\n]*$"):
            Seam(model)
        model.main_criterion = "loss_fct"
        Seam(model)

    @pytest.mark.parametrize("name", ["loss_fct", "criterion"])
    @pytest.mark.parametrize("criterion", [functional.cross_entropy, nn.CrossEntropyLoss()])
    def test_other_names_and_functions(self, name: str, criterion: Any) -> None:
        case = build(Outside, **SETTINGS)
        del case.model.loss_fct
        setattr(case.model, name, criterion)
        case.model.calculate_loss = lambda batch: getattr(case.model, name)(
            case.model.score(batch), target=batch["item_id"]
        )
        for law in LAWS:
            law(case)

    def test_adapter_of_a_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Rows:
            def applies(self, model: Any) -> bool:
                return True

            def swapping(self, model: Any, reduce: Any) -> Any:
                def calculate_loss(batch: Any) -> Tensor:
                    scores, target = model.score(batch), batch["item_id"]
                    return reduce(functional.cross_entropy(scores, target, reduction="none"))

                return substituted(model, "calculate_loss", calculate_loss)

        monkeypatch.setattr("recbole_atjt.seam.adapters._ADAPTERS", {})
        register_adapter("Hiding", Rows())
        case = build(Hiding, **SETTINGS)
        for law in LAWS:
            law(case)
        assert find_adapter(build(type("Kept", (Hiding,), {}), **SETTINGS).model) is not None
        assert find_adapter(build(Bypassing, **SETTINGS).model) is not None
        own = {"calculate_loss": Outside.calculate_loss}
        assert find_adapter(build(type("Own", (Hiding,), own), **SETTINGS).model) is None


class Toy(nn.Module):
    """The least that a seam needs."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.loss_fct = criterion

    def calculate_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.loss_fct(*batch)


SCORES = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 0.0, -1.0], [-1.0, 0.5, 0.0]])
CLASSES = torch.tensor([0, 1, 2, 1])
LABELS = torch.tensor([1.0, 0.0, 1.0, 1.0])
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5])
CRITERIA = [
    (nn.CrossEntropyLoss(), CLASSES),
    (nn.CrossEntropyLoss(ignore_index=2), CLASSES),
    (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), CLASSES),
    (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, ignore_index=0, label_smoothing=0.2), CLASSES),
    (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), SCORES.softmax(1)),
    (nn.CrossEntropyLoss(reduction="sum", ignore_index=2), CLASSES),
    (nn.NLLLoss(weight=CLASS_WEIGHTS, ignore_index=2), CLASSES),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), LABELS),
    (nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0])), LABELS),
    (nn.MSELoss(), LABELS),
    (nn.SmoothL1Loss(beta=0.5), LABELS),
    (BPRLoss(gamma=0.3), LABELS),
    (Margin(), LABELS),
]


CLASSIFIERS = (nn.CrossEntropyLoss, nn.NLLLoss)


def unit_weights_are_plain(criterion: Any, scores: Tensor, target: Tensor) -> None:
    model, scores = Toy(criterion), scores.clone().requires_grad_()
    expected = model.calculate_loss((scores, target))
    (gradient,) = torch.autograd.grad(expected, scores)
    with Seam(model).reducing(lambda loss: torch.ones(4), rows=4) as record:
        found = model.calculate_loss((scores, target))
    assert record.loss is not None
    assert record.loss.shape == (4,)
    assert not record.loss.requires_grad
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    (found_gradient,) = torch.autograd.grad(found, scores)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("criterion", "target"), CRITERIA, ids=str)
def test_settings_of_a_criterion_hold(criterion: Any, target: Tensor) -> None:
    scores = SCORES if isinstance(criterion, CLASSIFIERS) else SCORES[:, 0]
    unit_weights_are_plain(criterion, scores, target)


@pytest.mark.parametrize(
    "criterion", [nn.BCEWithLogitsLoss(), nn.MSELoss(), BPRLoss(), Margin()], ids=str
)
def test_losses_may_come_as_a_column(criterion: Any) -> None:
    unit_weights_are_plain(criterion, SCORES[:, :1], LABELS[:, None])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_settings_of_a_function_hold(reduction: str) -> None:
    def criterion(scores: Tensor, target: Tensor) -> Tensor:
        return model.function(scores, target, CLASS_WEIGHTS, ignore_index=2, reduction=reduction)

    model = Toy(None)
    model.function = functional.nll_loss
    model.calculate_loss = lambda batch: criterion(*batch)
    expected = model.calculate_loss((SCORES, CLASSES)).item()
    with Seam(model).reducing(torch.ones_like, rows=4):
        assert model.calculate_loss((SCORES, CLASSES)).item() == pytest.approx(expected, rel=1e-6)


def test_elements_stay_elements() -> None:
    model = Toy(nn.NLLLoss(reduction="none", ignore_index=2))
    weights = torch.tensor([1.0, 0.0, 5.0, 2.0])
    with Seam(model).reducing(lambda loss: weights, rows=4):
        found = model.calculate_loss((SCORES, CLASSES))
    assert found.tolist() == [-1.0, 0.0, 0.0, -1.0]


def test_the_sum_is_divided_by_rows_not_by_weights() -> None:
    model = Toy(nn.MSELoss())
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5])
    with Seam(model).reducing(lambda loss: weights, rows=4) as record:
        found = model.calculate_loss((torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.zeros(4)))
    assert found.item() == (1 * 1 + 0 * 4 + 2 * 9 + 0.5 * 16) / 4
    assert record.loss.tolist() == [1, 4, 9, 16]


def test_weights_see_the_losses_and_their_graph() -> None:
    model, scores = Toy(nn.MSELoss()), torch.tensor([1.0, 2.0], requires_grad=True)
    with Seam(model).reducing(lambda loss: loss, rows=2):
        loss = model.calculate_loss((scores, torch.zeros(2)))
    assert loss.item() == (1 + 16) / 2
    assert torch.autograd.grad(loss, scores)[0].tolist() == [2, 16]  # d/dx x^4 / 2


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([1.0, float("nan")], "not finite"),
        ([1.0, float("inf")], "not finite"),
        ([1.0, -0.1], "negative"),
        ([1.0], r"shape \(1,\) for 2 rows"),
        ([[1.0], [1.0]], r"shape \(2, 1\) for 2 rows"),
    ],
)
def test_bad_weights(weights: Any, problem: str) -> None:
    model = Toy(nn.MSELoss())
    criterion = model.loss_fct
    with (
        pytest.raises(TrainingError, match=problem),
        Seam(model).reducing(lambda loss: torch.tensor(weights), rows=2),
    ):
        model.calculate_loss((torch.ones(2), torch.zeros(2)))
    assert model.loss_fct is criterion


@pytest.mark.parametrize("shape", [(4,), (2, 2), (1, 2)], ids=str)
def test_rows_are_never_guessed(shape: tuple[int, ...]) -> None:
    model = Toy(nn.MSELoss())
    with (
        pytest.raises(UsageError, match="model=Toy computes a loss of shape"),
        Seam(model).reducing(torch.ones_like, rows=2),
    ):
        model.calculate_loss((torch.ones(shape), torch.zeros(shape)))


def test_a_criterion_that_couples_rows_is_refused() -> None:
    model = Toy(Coupled())
    with (
        pytest.raises(UsageError, match=r"^Coupled is neither[^\n]*$"),
        Seam(model).reducing(torch.ones_like, rows=4),
    ):
        model.calculate_loss((SCORES, CLASSES))


def test_nothing_computed_is_refused() -> None:
    with (
        pytest.raises(UsageError, match="model=Toy hides its loss"),
        Seam(Toy(nn.MSELoss())).reducing(torch.ones_like, rows=2),
    ):
        pass


def test_an_error_in_the_block_is_kept_and_the_model_restored() -> None:
    model = Toy(nn.MSELoss())
    criterion = model.loss_fct
    with pytest.raises(KeyError, match="theirs"), Seam(model).reducing(torch.ones_like, rows=2):
        raise KeyError("theirs" if model.loss_fct is not criterion else "nothing swapped")
    assert model.loss_fct is criterion
    assert list(model._modules) == ["loss_fct"]
    assert "loss_fct" not in vars(model)


def test_the_seam_is_entered_once_at_a_time() -> None:
    model = Toy(nn.MSELoss())
    seam = Seam(model)
    with (
        pytest.raises(RuntimeError, match="in use"),
        seam.reducing(torch.ones_like, rows=2),
        seam.reducing(torch.ones_like, rows=2),
    ):
        pass


def test_state_inside_the_block_is_the_models() -> None:
    model = Toy(nn.CrossEntropyLoss(weight=CLASS_WEIGHTS))
    with Seam(model).reducing(torch.ones_like, rows=4):
        model.calculate_loss((SCORES, CLASSES))
        assert not any("reducer" in name for name, _ in model.named_parameters())
    assert list(model.state_dict()) == ["loss_fct.weight"]


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "WideDeep", "FPMC"])
def test_mixed_precision(name: str) -> None:
    for case in every_loss_type(name):
        weights = torch.linspace(0, 2, len(case.batch), dtype=torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            plain = loss_of(case, None)[0].item()
            ours = loss_of(case, torch.ones_like(weights))[0].item()
            half = loss_of(case, weights)[0]
        assert ours == pytest.approx(plain, rel=1e-2)
        assert half.dtype == torch.float32
        half.backward()
        case.model.zero_grad(set_to_none=True)


class TestSelfTestLeavesNoTrace:
    @pytest.mark.parametrize("name", ["FEARec us", "S3Rec pretraining", "KD_DAGFM distillation"])
    def test_of_modes(self, name: str) -> None:
        self.check(mode(name))

    @pytest.mark.parametrize("name", ["DIN", "BERT4Rec", "DCN", "MultiVAE"])
    def test_of_models(self, name: str) -> None:
        self.check(build(name))

    def check(self, case: Case) -> None:
        model, columns = case.model, list(case.batch.interaction)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        attributes = {n: dict(vars(m)) for n, m in model.named_modules()}
        state = copy.deepcopy(model.state_dict())
        seed()
        verify_seam(model, case.batch)
        drawn = random.random(), np.random.rand(), torch.rand(1).item()
        seed()
        assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())
        assert list(case.batch.interaction) == columns
        assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
        assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
        for name, module in model.named_modules():
            assert vars(module).keys() == attributes[name].keys()
            assert all(value is attributes[name][key] for key, value in vars(module).items())
        model.zero_grad(set_to_none=True)
