"""What each command does: the rooms of the package put together."""
