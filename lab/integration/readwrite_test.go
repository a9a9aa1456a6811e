package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/anyvip/anyvip/lab/labtest"
	"github.com/anyvip/anyvip/lab/load"
)

// postgresName is the name under which a node runs this binary to be a client of
// PostgreSQL.
const postgresName = "integration-postgres-client"

// askPostgres gives an address a statement 50 times a second, each on a connection of its
// own, and prints what `anyvip-lab load` does. The answer's first value is who answered.
func askPostgres(args []string) error {
	address, statement := args[0], args[1]
	config, err := pgconn.ParseConfig("host=" + address + " port=5432 user=app dbname=postgres sslmode=disable")
	if err != nil {
		return err
	}
	ask := func(ctx context.Context) (string, error) {
		c, err := pgconn.ConnectConfig(ctx, config.Copy())
		if err != nil {
			return "", err
		}
		defer func() { _ = c.Close(ctx) }()
		answer := c.ExecParams(ctx, statement, nil, nil, nil, nil).Read()
		if answer.Err == nil && len(answer.Rows) == 0 {
			answer.Err = errors.New("no row")
		}
		if answer.Err != nil {
			return "", answer.Err
		}
		return string(answer.Rows[0][0]), nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	_, err = load.Run(ctx, load.Config{Target: address, Ask: ask, Rate: 50, Each: true}, load.Print(os.Stdout, fail))
	return err
}

// readWrite is examples/read-write, as it stands: pg1 begins as the primary and is the
// owner of db-write, pg2 as its replica and is the owner of db-read.
type readWrite struct{ *rig }

// TestReadWriteSplit tells the story of the example, seen by clients. It is not
// parallel: PostgreSQL starts a process for each of their requests.
func TestReadWriteSplit(t *testing.T) {
	labtest.Need(t, "postgresql")
	d := readWrite{up(t, "../../../examples/read-write/read-write.clab.yml", options{})}
	d.router("pg1", "db-write", "ACTIVE")
	d.router("pg2", "db-read", "ACTIVE")

	t.Log("the replica dies")
	reads, at := d.reads(), time.Now()
	d.postgres("pg2", "kill")
	if gap, _ := d.moves(reads, at, "pg1"); gap > 2*time.Second {
		t.Errorf("nobody answered for %s", ms(gap))
	}
	d.statusShows("pg1", "that it stands in for a replica", func(s agentStatus) bool {
		for _, v := range s.Services {
			if v.Name == "db-read" {
				return v.Level == "DEGRADED" && strings.Contains(asJSON(v.Reasons), "is the primary, not a replica")
			}
		}
		return false
	})

	t.Log("it returns")
	reads, at = d.reads(), time.Now()
	d.postgres("pg2", "start")
	if _, failed := d.moves(reads, at, "pg2"); failed > 0 {
		t.Errorf("%d reads failed on the way back", failed)
	}

	d.replicaLags()
	d.primaryDies()
	d.oldPrimaryReturns()
}

// replicaLags: an old answer is none.
func (d readWrite) replicaLags() {
	d.t.Helper()
	d.t.Log("the replica does not keep up")
	const psql = "psql -XAtq -h /run/postgresql -U postgres -c 'SELECT pg_wal_replay_%s()' postgres"
	writes, reads, at := d.writes(), d.reads(), time.Now()
	d.sh("pg2", fmt.Sprintf(psql, "pause"))
	if _, failed := d.moves(reads, at, "pg1"); failed > 0 {
		d.t.Errorf("%d reads failed", failed)
	}
	reads, at = d.reads(), time.Now()
	d.sh("pg2", fmt.Sprintf(psql, "resume"))
	if _, failed := d.moves(reads, at, "pg2"); failed > 0 {
		d.t.Errorf("%d reads failed on the way back", failed)
	}
	if _, failed := d.moves(writes, at, "pg1"); failed > 0 {
		d.t.Errorf("%d writes failed", failed)
	}
}

// primaryDies: until the replica is promoted nobody has the address for writes.
func (d readWrite) primaryDies() {
	d.t.Helper()
	d.t.Log("the primary dies")
	writes, reads, at := d.writes(), d.reads(), time.Now()
	d.postgres("pg1", "kill")
	died := time.Now()
	for _, node := range []string{"pg1", "pg2"} {
		d.router(node, "db-write", "INITIALIZE")
		eventually(d.t, patience, func() error {
			if slices.Contains(d.addresses(node, "eth1"), writeVIP+"/32") {
				return fmt.Errorf("%s has %s", node, writeVIP)
			}
			return nil
		})
	}

	d.t.Log("the replica is promoted")
	promoted := time.Now()
	d.postgres("pg2", "promote")
	d.moves(writes, promoted, "pg2")
	for _, c := range writes {
		meanwhile := c.all(func(e load.Event) bool {
			return e.Kind == load.Result && fine(e.Request) && e.Request.Started.After(died) && e.Request.Ended.Before(promoted)
		})
		if len(meanwhile) > 0 {
			d.t.Errorf("writes were answered while there was no primary: %s", asJSON(meanwhile))
		}
		first := c.all(func(e load.Event) bool { return e.Kind == load.Result && by(e.Request, "pg2") })[0].Request
		d.t.Logf("the first write was answered %s after the promotion was asked for", ms(first.Ended.Sub(promoted)))
	}
	if _, failed := d.moves(reads, at, "pg2"); failed > 0 {
		d.t.Errorf("%d reads failed while the primary was dead", failed)
	}
}

// oldPrimaryReturns as two primaries, which the address for writes survives; then as a
// replica, which gets that for reads.
func (d readWrite) oldPrimaryReturns() {
	d.t.Helper()
	d.t.Log("the old primary returns as what it was")
	writes, at := d.writes(), time.Now()
	d.postgres("pg1", "start")
	d.router("pg1", "db-write", "BACKUP")
	if _, failed := d.moves(writes, at, "pg2"); failed > 0 {
		d.t.Errorf("%d writes failed", failed)
	}
	for _, c := range writes {
		if strays := c.all(func(e load.Event) bool { return e.Kind == load.Result && by(e.Request, "pg1") }); len(strays) > 0 {
			d.t.Errorf("the old primary took writes: %s", asJSON(strays))
		}
	}

	d.t.Log("it becomes a replica")
	reads, at := d.reads(), time.Now()
	d.postgres("pg1", "replica")
	if _, failed := d.moves(reads, at, "pg1"); failed > 0 {
		d.t.Errorf("%d reads failed", failed)
	}
	d.router("pg1", "db-write", "INITIALIZE")
	d.router("pg2", "db-write", "ACTIVE")
}

const (
	writeVIP = "10.0.5.101"
	readVIP  = "10.0.5.102"
)

// writes and reads begin to ask.
func (d readWrite) writes() map[string]client {
	d.t.Helper()
	return d.asks(writeVIP, "INSERT INTO visit DEFAULT VALUES RETURNING current_setting('cluster_name')")
}

func (d readWrite) reads() map[string]client {
	d.t.Helper()
	return d.asks(readVIP, "SELECT current_setting('cluster_name'), count(*) FROM visit")
}

func (d readWrite) asks(address, statement string) map[string]client {
	d.t.Helper()
	c := client{follow(d.rig, load.Decode, "client", roleArgv(d.t, postgresName, address, statement)...)}
	c.wait(patience, "the client is ready", func(e load.Event) bool { return e.Kind == load.Ready })
	return map[string]client{address: c}
}

// postgres does something to a node's server, as a cluster manager or an accident would.
func (d readWrite) postgres(node, verb string) {
	d.t.Helper()
	d.sh(node, "sh /etc/postgres/postgres.sh "+verb)
}

// router waits until a server's virtual router is in a state.
func (d readWrite) router(node, name, state string) {
	d.t.Helper()
	d.statusShows(node, name+" in state "+state, func(s agentStatus) bool { return s.router(name).State == state })
}
