"""Work at our own pace: the outbox of messages, and what is done from time to time."""
