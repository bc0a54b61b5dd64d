"""The process that the user starts: it preserves resources and restarts control."""
