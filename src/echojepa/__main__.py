"""`python -m echojepa` is `echojepa`."""

from echojepa.cli import main

raise SystemExit(main())
