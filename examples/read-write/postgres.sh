#!/bin/sh
# What is done to PostgreSQL in this lab, by hand: `sh /etc/postgres/postgres.sh VERB`, in a node.
#
#   primary   makes a database and starts it
#   replica   copies the primary, wherever it is, over what is here, and follows it
#   start     starts what is here as what it was
#   promote   makes a primary of the replica
#   kill      ends the server with SIGKILL
#
# Servers of yours have units for this, and a cluster manager that decides.
set -eu
db_write=10.0.5.101
dir=/run/postgresql
data=$dir/data
log=/proc/1/fd/1
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH # Debian's servers are there

mkdir -p $dir
as="setpriv --reuid=postgres --regid=postgres --clear-groups" # PostgreSQL refuses to be root
if $as true 2>/dev/null; then
	chown postgres:postgres $dir
else # an ordinary user's node has one user, who has another name in a user namespace below
	as="unshare --user --map-user=$(id -u postgres) --map-group=$(id -g postgres)"
fi

start() {
	$as pg_ctl start --silent --wait --pgdata=$data \
		--options="-c config_file=/etc/postgres/postgresql.conf -c cluster_name=$(uname -n)" >>$log 2>&1
}

case $1 in
primary)
	$as initdb --no-sync --username=postgres --auth=trust --encoding=UTF8 --locale=C --wal-segsize=1 --pgdata=$data
	start
	$as psql -XAtq -v ON_ERROR_STOP=1 -h $dir -U postgres <<-SQL
		CREATE ROLE replicator REPLICATION LOGIN;
		CREATE ROLE anyvip LOGIN;
		CREATE ROLE app LOGIN;
		CREATE TABLE visit (at timestamptz NOT NULL DEFAULT now());
		GRANT SELECT, INSERT ON visit TO app;
	SQL
	;;
replica)
	! $as pg_ctl status --pgdata=$data >/dev/null || $as pg_ctl stop --silent --mode=immediate --pgdata=$data
	rm -rf $data
	until $as pg_isready --quiet --timeout=1 --host=$db_write; do sleep 0.2; done
	$as pg_basebackup --no-sync --checkpoint=fast --write-recovery-conf --host=$db_write --username=replicator --pgdata=$data
	start
	;;
start)
	start
	;;
promote)
	$as pg_ctl promote --silent --wait --pgdata=$data
	;;
kill)
	kill -9 "$(head -1 $data/postmaster.pid)"
	;;
*)
	echo "no such verb: $1" >&2
	exit 2
	;;
esac
