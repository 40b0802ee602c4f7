"""The demonstrations: made-up events, and what is shown of them."""
