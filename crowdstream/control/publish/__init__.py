"""Publication of state to clients: state view, changes, status, meters and feedback."""
