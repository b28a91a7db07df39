"""From a trained model to recommendations, and to files of other programs."""

from recbole_atjt.serving.recommender import Recommendation, Recommendations, Recommender

__all__ = ["Recommendation", "Recommendations", "Recommender"]
