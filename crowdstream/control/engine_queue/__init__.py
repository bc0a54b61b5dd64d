"""Commands on their way from control to the engine."""
