"""Control: what sequencers say becomes commands stamped with frames."""
