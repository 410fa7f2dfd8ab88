"""A conversation and what of it the model gets to see."""
