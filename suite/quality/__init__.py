"""What a position method buys: small language models trained short and tested long."""
