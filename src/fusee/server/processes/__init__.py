"""Several processes as one server: front ends that own the sockets, an engine process behind rings of shared memory."""
