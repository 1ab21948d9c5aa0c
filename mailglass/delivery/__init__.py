"""Delivery: freezing and queueing a message, claiming it, handing it over and writing what came of it."""
