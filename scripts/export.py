"""Export a trained model for others: python scripts/export.py RUN_DIR output=DIR [which=best] [license=ID].

It is `makemore export`, from a checkout.
"""

from makemore.cli.export_command import main

if __name__ == "__main__":
    main()
