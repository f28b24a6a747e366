#!/bin/sh
# Makes the secrets of an installation, once: sh secrets.sh [FOLDER [SUFFIX]]
# SUFFIX ends the names of hosts: nothing for compose.yaml, .assay.svc for Kubernetes' namespace "assay".
# The folder is for its owner alone; the files in it can be read, since containers read them as users of their own.
set -eu
folder=${1:-$(dirname "$0")/secrets}
suffix=${2:-}
umask 077
mkdir "$folder" || { echo "secrets.sh: $folder is there already; nothing was changed" >&2; exit 2; }

random() { openssl rand -hex 32; }
keep() { printf '%s\n' "$2" > "$folder/$1"; chmod 0444 "$folder/$1"; }
digest() { printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }

database=$(random) broker=$(random) inference=$(random) metrics=$(random)
keep signing_key "$(random)"
keep postgres_password "$database"
keep store_url "postgresql+psycopg://assay:$database@postgres$suffix:5432/assay"
keep rabbitmq.conf "default_user = assay
default_pass = $broker
default_vhost = assay"
keep queue_url "amqp://assay:$broker@rabbitmq$suffix:5672/assay"
keep lens_url "grpc://:$inference@inference$suffix:8001"
keep inference_metrics_key "$metrics"
keep inference_keys.json "{\"keys\": [
  {\"name\": \"assay\", \"sha256\": \"$(digest "$inference")\", \"scopes\": [\"infer\", \"read\"]},
  {\"name\": \"prometheus\", \"sha256\": \"$(digest "$metrics")\", \"scopes\": [\"read\"]}
]}"
