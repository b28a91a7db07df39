"""Reading settings: YAML, declared keys, where the property files lie."""
