"""Shared by all tests: strategies for graphs and machines, and independent oracles of what is right."""
