"""What every part of the program may need of the system and of time, and none of them owns."""
