"""Pacing: what a limit is, and which buckets a mail takes from; pure, and the same for every store."""
