"""One function per command; each takes a composed configuration and runs inside the run guard."""
