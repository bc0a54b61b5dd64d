"""The loader process: reads audio files into the pages of the desk."""
