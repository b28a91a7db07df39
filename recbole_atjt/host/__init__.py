"""RecBole as it really behaves: repairs, traits of its models, its keys and refusals."""
