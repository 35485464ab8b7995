"""Sample items: python scripts/sample.py ckpt_path=RUN_DIR [num_samples=20 seed=1 prompt=an ...].

It is `makemore sample`, from a checkout.
"""

from makemore.cli.sample_command import main

if __name__ == "__main__":
    main()
