# Make the database on the first start, as its public image does; after that go on with what is there.
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
  password=$(mktemp)
  printf '%s' "$POSTGRES_PASSWORD" >"$password"
  initdb --auth=scram-sha-256 --username="$POSTGRES_USER" --pwfile="$password" --encoding=UTF8 --locale=C
  rm "$password"
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA" postgres
fi
# What is tried is what a killed process loses, not what a disk does: one that stalls would make the ledger refuse.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
