"""Score words: python scripts/score.py ckpt_path=RUN_DIR words=[anubhav,andrejq] or words_file=FILE.

It is `makemore score`, from a checkout.
"""

from makemore.cli.score_command import main

if __name__ == "__main__":
    main()
