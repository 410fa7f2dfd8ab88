"""Exact arithmetic, units, dates, equations, derivatives: computed from a tree, never by running text."""
