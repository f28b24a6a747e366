"""Jobs from the intake to the workers: one protocol, in memory, SQLite, RabbitMQ and Kafka."""

from assay.queue.opening import open_queue as open_queue
