"""``python -m curvature`` is the command ``curvature``."""

from .cli import main

if __name__ == "__main__":
    main()
