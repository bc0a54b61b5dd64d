"""Stems: which files of a folder belong to one track, by their names and their audio."""
