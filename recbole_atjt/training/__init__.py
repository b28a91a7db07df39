"""The recommender with its weighted loss, and the trainers."""
