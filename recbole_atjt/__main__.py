"""``python -m recbole_atjt`` is the command ``recbole-atjt``."""

from recbole_atjt.cli import main

raise SystemExit(main())
