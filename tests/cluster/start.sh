# Make the database on the first start; after that it goes on with what is there. Who may connect says a NetworkPolicy.
set -eu
if [ ! -e /data/pg/PG_VERSION ]; then
  rm -rf /data/pg
  initdb --auth=trust --username=scoregate --encoding=UTF8 --locale=C --pgdata=/data/pg
  echo "host all all all trust" >>/data/pg/pg_hba.conf
fi
exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/tmp
