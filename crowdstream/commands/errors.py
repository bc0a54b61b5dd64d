"""Errors of commands, as types that a caller can distinguish."""

from __future__ import annotations


class CommandError(ValueError):
    """A command can't be carried out. The message is the reason that the sender receives."""


class UnknownAddress(CommandError):
    """No command has this address."""


class BadArgument(CommandError):
    """The number, type or range of the arguments is wrong."""


class NotLoaded(CommandError):
    """The deck, buffer or cue that the command needs is empty."""


class Refused(CommandError):
    """A resource is exhausted (voices, sources, queue places, memory), or access is denied."""


class NotPlaying(CommandError):
    """The command needs a playing track, and the deck is not playing."""


class NoGrid(CommandError):
    """The command counts in beats, and the track has no beat grid."""
