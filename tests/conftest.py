"""What every test has: the rules of the suite and the fixtures that start real programs."""

pytest_plugins = ["support.rules", "support.fixtures"]
