"""Ways into Temporal from outside the workflows: the client library, the feed's notifier, and starting a feed."""
