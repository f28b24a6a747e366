"""Jobs from the intake to the workers: one protocol, in memory, SQLite, RabbitMQ and Kafka."""
