"""What really leaves for each venue: ccxt is the real one, only its last step, the network, is cut off."""
