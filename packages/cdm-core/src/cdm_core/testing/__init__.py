"""Help for tests of this package and of those that build on it; nothing imports it at run time."""
