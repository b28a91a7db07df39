"""What a strategy sees of a model: its representation of a sequence, its embedding of an item."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from recbole.model.sequential_recommender import GRU4Rec
from torch import Tensor, nn

from recbole_atjt import UsageError
from recbole_atjt.seam.representation import Representations
from tests.models import Case, build

#: RecBole finds no settings for a class of another name.
GRU4REC = {"loss_type": "CE", "num_layers": 1, "dropout_prob": 0.0}


def look(case: Case, sequences: int | None = None) -> tuple[Tensor, Tensor]:
    """Compute the loss once in evaluation mode; return what was seen."""
    case.model.eval()
    views = Representations(case.model, case.dataset)
    sequences = len(case.batch) if sequences is None else sequences
    with views.watching():
        case.model.calculate_loss(case.batch)
        seen = views.representation(case.batch, sequences)
    return seen, views.item_embedding(case.batch[case.dataset.iid_field][:sequences])


def rows_of(table: nn.Embedding, ids: Tensor) -> Tensor:
    return table.weight[ids]


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NARM", "GRU4RecF", "LightSANs"])
def test_sequences_are_what_forward_returned(name: str) -> None:
    case = build(name)
    seen, items = look(case)
    model, batch = case.model, case.batch
    assert torch.equal(seen, model.forward(batch["item_id_list"], batch["item_length"]))
    assert torch.equal(items, rows_of(model.item_embedding, batch["item_id"]))
    assert not seen.requires_grad
    assert not items.requires_grad


@pytest.mark.parametrize("name", ["SASRec", "FEARec"])
def test_nothing_is_computed_twice(name: str) -> None:
    """FEARec calls forward for augmented sequences too, after the sequences themselves."""
    case = build(name, **({"contrast": "us", "tau": 1.0, "sim": "dot"} if name == "FEARec" else {}))
    calls: list[Tensor] = []
    case.model.register_forward_hook(lambda *given: pytest.fail("the model was called"))
    forward = case.model.forward

    def count(*args: Any) -> Tensor:
        calls.append(forward(*args))
        return calls[-1]

    case.model.forward = count
    case.model.calculate_loss(case.batch)
    plain = len(calls)
    calls.clear()
    seen, _ = look(case)
    assert len(calls) == plain
    assert torch.equal(seen, calls[0])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("GRU4RecCPR", ["item_id_list", "item_length"]),
        ("SASRecCPR", ["item_id_list", "item_length"]),  # a list: one output for each layer
        ("BERT4Rec", ["Mask_item_id_list"]),
    ],
)
def test_the_last_item_stands_for_a_sequence_of_vectors(name: str, fields: list[str]) -> None:
    case = build(name)
    seen, _ = look(case)
    output = case.model.forward(*(case.batch[field] for field in fields))
    output = output[-1] if isinstance(output, list) else output
    lengths = case.batch["item_length"].tolist()
    assert len(set(lengths)) > 1
    for row, length in enumerate(lengths):
        assert torch.equal(seen[row], output[row, length - 1])


def test_din_and_dien_give_their_pooled_history() -> None:
    for name, module in (("DIN", "attention"), ("DIEN", "interest_evolution")):
        case = build(name)
        outputs: list[Tensor] = []
        hook = getattr(case.model, module).register_forward_hook(
            lambda module, given, output, kept=outputs: kept.append(output)
        )
        seen, items = look(case, sequences=5)
        hook.remove()
        assert torch.equal(seen, outputs[0].squeeze(1)[:5])
        layer = case.model.embedding_layer
        names = layer.token_field_names["item"]
        fields = torch.stack([case.batch["item_id"][:5]] * len(names), dim=1)
        fields[:, [i for i, name in enumerate(names) if name != "item_id"]] = 0
        table = layer.token_embedding_table["item"]
        assert torch.equal(items, table(fields)[:, names.index("item_id")])


def test_repeatnet_gives_its_last_memory_and_fpmc_its_users() -> None:
    case = build("RepeatNet")
    seen, items = look(case)
    memory, _ = case.model.gru(case.model.item_matrix(case.batch["item_id_list"]))
    last = case.model.gather_indexes(memory, case.batch["item_length"] - 1)
    assert torch.equal(seen, last)
    assert torch.equal(items, rows_of(case.model.item_matrix, case.batch["item_id"]))
    case = build("FPMC")
    seen, items = look(case)
    assert torch.equal(seen, rows_of(case.model.UI_emb, case.batch["user_id"]))
    assert torch.equal(items, rows_of(case.model.IU_emb, case.batch["item_id"]))


@pytest.mark.parametrize("name", ["WideDeep", "DSSM", "FM", "EulerNet", "LR", "FFM"])
def test_context_aware_models_give_the_rows_of_the_ids(name: str) -> None:
    case = build(name)
    seen, items = look(case)
    model, batch = case.model, case.batch
    fields = torch.stack([batch[field] for field in model.token_field_names], dim=1)
    tables = [model.token_embedding_table]
    if name == "LR":
        tables = [model.first_order_linear.token_embedding_table]
    for field, found in (("user_id", seen), ("item_id", items)):
        column = model.token_field_names.index(field)
        if name == "FFM":
            rows = fields[:, column] + int(model.token_field_offsets[column])
            expected = torch.cat([rows_of(t, rows) for t in model.ffm.token_embeddings], dim=1)
        else:
            expected = tables[0](fields)[:, column]
        assert torch.equal(found, expected), field


def test_general_models_give_the_embeddings_of_the_ids() -> None:
    case = build("BPR")
    seen, items = look(case)
    assert torch.equal(seen, rows_of(case.model.user_embedding, case.batch["user_id"]))
    assert torch.equal(items, rows_of(case.model.item_embedding, case.batch["item_id"]))
    case = build("NeuMF")
    seen, items = look(case)
    model, users = case.model, case.batch["user_id"]
    tables = (model.user_mf_embedding, model.user_mlp_embedding)
    assert torch.equal(seen, torch.cat([rows_of(table, users) for table in tables], dim=1))
    assert items.shape == seen.shape


def test_the_model_is_as_before() -> None:
    for name in ("SASRec", "DIN"):
        case = build(name)
        attributes = list(vars(case.model))
        look(case)
        assert list(vars(case.model)) == attributes
        assert not any(module._forward_hooks for module in case.model.modules())
    views = Representations(case.model, case.dataset)
    with pytest.raises(KeyError), views.watching():
        raise KeyError
    assert not case.model.attention._forward_hooks


class Named(GRU4Rec):  # type: ignore[misc,unused-ignore]
    """Says itself where its representation and its items are."""

    sequence_representation = "encode"
    target_embedding = "codes"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.codes = nn.Embedding(self.n_items, 3)

    def encode(self, items: Tensor, length: Tensor) -> Tensor:
        """Return twice RecBole's output."""
        return 2 * super().forward(items, length)

    def forward(self, items: Tensor, length: Tensor) -> Tensor:
        """Return what can't be taken for a representation."""
        return self.encode(items, length) / 2


def test_a_model_names_its_own() -> None:
    case = build(Named, **GRU4REC)
    seen, items = look(case)
    plain = case.model.forward(case.batch["item_id_list"], case.batch["item_length"])
    assert torch.equal(seen, 2 * plain)
    assert items.shape == (len(case.batch), 3)


class Flat(GRU4Rec):  # type: ignore[misc,unused-ignore]
    """Scores single items in ``forward``, as many models do."""

    def forward(self, items: Tensor, length: Tensor) -> Tensor:
        """Return no vectors."""
        return super().forward(items, length).sum(1)

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Return any loss."""
        score = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return score.square().mean()


class Silent(Flat):
    """Does not call ``forward`` at all."""

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Return any loss."""
        return self.item_embedding(interaction[self.ITEM_ID]).square().mean()


class Misnamed(GRU4Rec):  # type: ignore[misc,unused-ignore]
    """Names a method that it has not."""

    sequence_representation = "encode"


class Itemless(BPR):  # type: ignore[misc,unused-ignore]
    """Names an embedding that it has not."""

    target_embedding = "codes"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Flat, r"model=Flat has no representation .* forward returned of shape \[24\] for 24 rows"),
        (Silent, "model=Silent has no representation .* forward returned no tensor for 24 rows"),
        (Misnamed, "model=Misnamed names sequence_representation=encode, but has no"),
        (Itemless, "model=Itemless has no embedding target_embedding=codes"),
        ("DMF", "model=DMF has no embedding of items .* in an attribute target_embedding"),
        ("FISM", "model=FISM has no embedding of users .* in an attribute sequence_representation"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(model: Any, message: str) -> None:
    settings = GRU4REC if model in (Flat, Silent, Misnamed) else {}
    case = build(model, **settings)
    with pytest.raises(UsageError, match=message) as caught:
        look(case)
    assert "\n" not in str(caught.value)
