"""Play with trained models in the browser: python scripts/playground.py PATH... [top=1] [port=7860].

It is `makemore playground`, from a checkout.
"""

from makemore.cli.playground_command import main

if __name__ == "__main__":
    main()
