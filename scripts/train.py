"""Train a model: python scripts/train.py [experiment=lessons/mlp data=makemore] [KEY=VALUE ...]; -m for a sweep.

It is `makemore train`, from a checkout.
"""

from makemore.cli.train_command import main

if __name__ == "__main__":
    main()
