"""`crowdstream top`: decks, meters, health and a log in a terminal, over OSC."""
