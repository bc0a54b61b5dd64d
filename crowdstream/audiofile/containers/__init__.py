"""Container formats: headers, streams, and the byte ranges of a file that hold audio."""
