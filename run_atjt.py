"""The command line from a checkout; installed, it is ``recbole-atjt``."""

from recbole_atjt.cli import main

if __name__ == "__main__":  # processes that are started from here import this file
    raise SystemExit(main())
