"""What Python users call to run studies and look at their results."""
