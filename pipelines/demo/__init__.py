"""The demonstration: events made with a seed, and what a person is shown of them."""
