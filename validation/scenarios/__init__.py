"""One file per scenario family."""
