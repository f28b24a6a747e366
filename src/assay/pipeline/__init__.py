"""From a submitted case to its report: the relay that publishes jobs, and the workers that judge."""
