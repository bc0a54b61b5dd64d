"""What clients see: state, changes, status, meters, feedback."""
