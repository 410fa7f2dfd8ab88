"""The shape of the models that the tests of recipes train."""

from danlu.recipes.pretrain import Shape

SHAPE = Shape(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, max_seq_len=128)
