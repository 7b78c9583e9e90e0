"""The steps of an order's life that touch the world, one class per port. They talk to ports, never to libraries."""
