"""The processes that control starts, supervises and replaces."""
