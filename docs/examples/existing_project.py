"""An existing RecBole script, and the two lines that make it train with ATJT.

python existing_project.py                 SASRec on RecBole's ml-100k
python existing_project.py --epochs=2      any key, as RecBole's own Config reads it
"""

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.utils import init_logger, init_seed

from recbole_atjt import DenoisingRecommender, DenoisingTrainer  # was: recbole.trainer.Trainer

SETTINGS = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "train_neg_sample_args": None,
    "epochs": 10,
    "weighting": "atjt",  # new: a key of recbole_atjt beside RecBole's; none trains plainly
}


def main(dataset: str = "ml-100k", **changes: object) -> dict[str, float]:
    """Train and test; return the test metrics."""
    config = Config(SASRec, dataset, config_dict={**SETTINGS, **changes})
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    model = SASRec(config, train_data.dataset).to(config["device"])

    model = DenoisingRecommender(model, config, train_data.dataset)  # new: the model is wrapped
    trainer = DenoisingTrainer(config, model)  # was: Trainer(config, model)

    trainer.fit(train_data, valid_data, show_progress=config["show_progress"])
    result = trainer.evaluate(test_data, show_progress=config["show_progress"])
    return {metric: float(value) for metric, value in result.items()}


if __name__ == "__main__":
    print(main())
