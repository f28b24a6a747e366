"""How the networks are trained. The one room that knows torch, which is installed by whoever trains."""
