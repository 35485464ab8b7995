"""Mix trained models into one: python scripts/mix.py PATH... [top=5] [output=DIR].

It is `makemore mix`, from a checkout.
"""

from makemore.cli.mix_command import main

if __name__ == "__main__":
    main()
