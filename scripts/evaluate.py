"""Evaluate a checkpoint: python scripts/evaluate.py ckpt_path=RUN_DIR [data.path=FILE] [output=FILE].

It is `makemore evaluate`, from a checkout.
"""

from makemore.cli.evaluate_command import main

if __name__ == "__main__":
    main()
