"""``python -m echolith``."""

from echolith.cli import main

if __name__ == "__main__":
    main()
