"""Messages sent directly: SendMessages and SendUsersMessages."""
