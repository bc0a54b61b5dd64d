"""Output for lights: beats, phrases, sections, energy and levels by OS2L, sACN and Art-Net."""
