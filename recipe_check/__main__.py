"""`python -m recipe_check`."""

from recipe_check.cli import main

if __name__ == "__main__":
    main()
