"""The command line from a checkout; installed, it is ``recbole-atjt``."""

from recbole_atjt.cli import main

raise SystemExit(main())
