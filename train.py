"""Train a model: ``python train.py [overrides]``; ``--help`` lists them."""

from parfait.cli import main

main("train")
