"""Models of this package, ordinary RecBole models."""
