"""Stems: which files are stems of one track, by their names and their sound."""
