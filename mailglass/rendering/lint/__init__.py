"""Lint: what is wrong with a mail before anybody gets it, each finding with its place and its fix."""
