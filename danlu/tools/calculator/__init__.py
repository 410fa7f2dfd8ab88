"""Exact arithmetic, units, dates, equations and derivatives, computed from a tree and never by running text."""
