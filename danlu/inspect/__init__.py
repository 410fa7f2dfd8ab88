"""Looking inside: what a batch really holds, and whether a model and its data are fit to be trained."""
