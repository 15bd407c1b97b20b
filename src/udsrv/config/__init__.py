"""The settings: one table, three sources, one frozen value."""
