"""``python -m pitboss``: the same as the console script."""

from pitboss.surfaces.cli import main

if __name__ == "__main__":
    main()
