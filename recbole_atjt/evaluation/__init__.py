"""What RecBole's evaluation lacks: value metrics beside rankings, revised validation."""
