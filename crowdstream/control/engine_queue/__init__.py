"""Engine commands: from handlers in control, through the desk's command ring, to the engine."""
