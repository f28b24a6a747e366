"""The application measured: what it withstands, and how long it takes to be itself again."""
