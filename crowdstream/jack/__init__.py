"""Decks, stems and buses as ports of a JACK or PipeWire server."""
