"""A broker to practise on: Upstox's documented behaviour, in memory, on loopback only."""
