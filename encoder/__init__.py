"""The static encoder: load a model by reference and turn texts into vectors."""
