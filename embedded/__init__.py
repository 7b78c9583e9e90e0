"""The one-command stack: Temporal, Postgres, simulator, workers and REST interface as children of one supervisor."""
