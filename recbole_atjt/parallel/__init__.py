"""Several processes that train one model, on PyTorch's own engine; with one, nothing happens."""
