"""``python -m gli`` is the command ``gli``."""

from gli.commands.main import main

if __name__ == "__main__":
    raise SystemExit(main())
