"""``python -m lathe``."""

from lathe.cli import main

raise SystemExit(main())
