"""File formats: headers, streams, and what belongs to the sound in a file."""
