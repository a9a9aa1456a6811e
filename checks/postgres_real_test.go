package checks

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// cluster is a real PostgreSQL server with its data in a keptDir. A superuser comes
// in by its unix socket without a password.
type cluster struct {
	*kept
	dir, name, port string // the data are in dir/name, the socket in dir
	bin             string
}

const postgresBin = "/usr/lib/postgresql/*/bin"

// newCluster makes a primary and starts it.
func newCluster(t testing.TB, dir, name string) *cluster {
	t.Helper()
	c := &cluster{dir: dir, name: name, bin: needProgram(t, "postgresql", postgresBin)}
	outputOf(t, dir, c.bin+"/initdb", "--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata="+name)
	c.write(t, "pg_hba.conf", `
local all         postgres trust
local replication postgres trust
local all         all      scram-sha-256
host  all         md5user  127.0.0.1/32 md5
host  all         clear    127.0.0.1/32 password
hostssl all       tlsuser  127.0.0.1/32 scram-sha-256
host  all         probe    127.0.0.1/32 scram-sha-256
`)
	c.start(t)
	return c
}

// write puts a file of the server's own into its data.
func (c *cluster) write(t testing.TB, name, content string) {
	t.Helper()
	name = filepath.Join(c.dir, c.name, name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if id := ordinary(t); id != nil {
		if err := os.Chown(name, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts the server and waits for it, with more settings. It has a port of its own from then on.
func (c *cluster) start(t testing.TB, settings ...string) {
	t.Helper()
	c.launch(t, settings...)
	eventually(t, c.name+" takes connections", func() bool {
		err := command(t, c.dir, c.bin+"/pg_isready", "-q", "-h", c.dir, "-p", c.port).Run()
		return err == nil
	})
}

// launch starts the server and does not wait.
func (c *cluster) launch(t testing.TB, settings ...string) {
	t.Helper()
	if c.port == "" {
		_, c.port, _ = net.SplitHostPort(nobody(t))
	}
	args := []string{"-D", c.name, "-p", c.port, "-k", c.dir, "-h", "127.0.0.1"}
	for _, s := range append([]string{"fsync=off", "shared_buffers=1MB", "max_connections=20", "max_wal_senders=5", "autovacuum=off", "wal_receiver_status_interval=1s",
		"wal_retrieve_retry_interval=100ms", "unix_socket_permissions=0777"}, settings...) {
		args = append(args, "-c", s)
	}
	c.kept = startKept(t, c.dir, c.name, c.bin+"/postgres", args...)
}

// sql runs statements as the superuser and returns what they say.
func (c *cluster) sql(t testing.TB, text string) string {
	t.Helper()
	return outputOf(t, c.dir, c.bin+"/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", c.dir, "-p", c.port, "-U", "postgres", "-c", text, "postgres")
}

// socket is what to write as an address.
func (c *cluster) socket() string { return filepath.Join(c.dir, socketName+c.port) }

// replica copies the cluster; it follows it.
func (c *cluster) replica(t testing.TB, name string) *cluster {
	t.Helper()
	outputOf(t, c.dir, c.bin+"/pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-h", c.dir, "-p", c.port, "-U", "postgres", "-D", name)
	return &cluster{dir: c.dir, name: name, bin: c.bin}
}

// TestPostgresWithPostgreSQL asks real servers: a primary and what its users may do,
// then a replica as it starts, lags, and takes over.
func TestPostgresWithPostgreSQL(t *testing.T) {
	needProgram(t, "postgresql", postgresBin)
	dir := keptDir(t)
	primary := newCluster(t, dir, "primary")
	primary.sql(t, `
CREATE ROLE probe LOGIN PASSWORD 'geheim';
CREATE ROLE tlsuser LOGIN PASSWORD 'geheim';
CREATE ROLE clear LOGIN PASSWORD 'geheim';
CREATE ROLE full_house LOGIN PASSWORD 'geheim' CONNECTION LIMIT 0;
SET password_encryption = 'md5';
CREATE ROLE md5user LOGIN PASSWORD 'geheim'`)
	primary.sql(t, "CREATE TABLE ready (ok bool); INSERT INTO ready VALUES (true); GRANT SELECT, INSERT ON ready TO probe; CREATE TABLE secret (a int)")
	password, wrong := filepath.Join(t.TempDir(), "password"), filepath.Join(t.TempDir(), "wrong")
	writeFile(t, password, "geheim\n")
	writeFile(t, wrong, "falsch\n")

	t.Run("log in", func(t *testing.T) { realLogIn(t, primary, password, wrong) })
	t.Run("query", func(t *testing.T) { realQuery(t, primary, password) })
	t.Run("TLS", func(t *testing.T) { realTLS(t, primary, password) })
	t.Run("replica", func(t *testing.T) { realReplica(t, primary, password) })
}

func realLogIn(t *testing.T, c *cluster, password, wrong string) {
	host := "127.0.0.1:" + c.port
	for _, tc := range []struct {
		name    string
		ask     Postgres
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"scram over TCP", Postgres{Address: host, User: "probe", PasswordFile: password, Role: "primary"}, vip.Pass, vip.ClassNone, "primary"},
		{"scram over a unix socket", Postgres{Address: c.socket(), User: "probe", PasswordFile: password}, vip.Pass, vip.ClassNone, "primary"},
		{"md5", Postgres{Address: host, User: "md5user", PasswordFile: password}, vip.Pass, vip.ClassNone, "primary"},
		{"no password asked for", Postgres{Address: c.socket(), User: "postgres", Database: "template1"}, vip.Pass, vip.ClassNone, "primary"},
		{"not a replica", Postgres{Address: host, User: "probe", PasswordFile: password, Role: "replica", MaxLag: time.Second}, vip.Fail, vip.ClassStatus, "is the primary, not a replica"},
		{"a wrong password", Postgres{Address: host, User: "probe", PasswordFile: wrong}, vip.Error, vip.ClassLocal,
			`log in: password authentication failed for user "probe" (SQLSTATE 28P01)`},
		{"a wrong password with md5", Postgres{Address: host, User: "md5user", PasswordFile: wrong}, vip.Error, vip.ClassLocal,
			`log in: password authentication failed for user "md5user" (SQLSTATE 28P01)`},
		{"no password", Postgres{Address: host, User: "probe"}, vip.Error, vip.ClassLocal, `log in: password authentication failed for user "probe" (SQLSTATE 28P01)`},
		{"a password in clear text", Postgres{Address: host, User: "clear", PasswordFile: password}, vip.Error, vip.ClassLocal,
			"log in: the server wants the password in clear text, which takes tls"},
		{"no such user", Postgres{Address: c.socket(), User: "eve", PasswordFile: password}, vip.Error, vip.ClassLocal, `log in: password authentication failed for user "eve" (SQLSTATE 28P01)`},
		{"not let in from here", Postgres{Address: host, User: "tlsuser", PasswordFile: password}, vip.Error, vip.ClassLocal,
			`log in: no pg_hba.conf entry for host "127.0.0.1", user "tlsuser", database "postgres", no encryption (SQLSTATE 28000)`},
		{"no such database", Postgres{Address: host, User: "probe", PasswordFile: password, Database: "nix"}, vip.Error, vip.ClassLocal, `log in: database "nix" does not exist (SQLSTATE 3D000)`},
		{"too many connections", Postgres{Address: c.socket(), User: "full_house", PasswordFile: password}, vip.Fail, vip.ClassStatus,
			`log in: too many connections for role "full_house" (SQLSTATE 53300)`},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, probe(t, &tc.ask, long), tc.outcome, tc.class, tc.detail) })
	}
	if left := c.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'anyvip'"); left != "0" {
		// A server process takes its time to see that its client has gone.
		eventually(t, "the sessions end", func() bool {
			return c.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'anyvip'") == "0"
		})
	}
}

func realQuery(t *testing.T, c *cluster, password string) {
	for _, tc := range []struct {
		query   string
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"SELECT ok FROM ready", long, vip.Pass, vip.ClassNone, "primary"},
		{"SELECT 42, 'and more'", long, vip.Pass, vip.ClassNone, "primary"},
		{"SELECT current_setting('application_name') = 'anyvip' AND current_setting('default_transaction_read_only') = 'on' AND current_setting('statement_timeout') <> '0'",
			long, vip.Pass, vip.ClassNone, "primary"},
		{"SELECT NOT ok FROM ready", long, vip.Fail, vip.ClassBody, `query: the answer is "f"`},
		{"SELECT count(*) FROM secret", long, vip.Error, vip.ClassLocal, "query: permission denied for table secret (SQLSTATE 42501)"},
		{"SELECT NULL", long, vip.Fail, vip.ClassBody, `query: the answer is "NULL"`},
		{"SELECT ok FROM ready WHERE NOT ok", long, vip.Fail, vip.ClassBody, "query: no row"},
		{"SELECT 1 FROM nowhere", long, vip.Fail, vip.ClassStatus, `query: relation "nowhere" does not exist (SQLSTATE 42P01)`},
		{"SELECT 1 / (3 - n) FROM generate_series(1, 5) n", long, vip.Fail, vip.ClassStatus, "query: division by zero (SQLSTATE 22012)"},
		{"SELEKT 1", long, vip.Error, vip.ClassLocal, `query: syntax error at or near "SELEKT" (SQLSTATE 42601)`},
		{"SELECT 1; SELECT 2", long, vip.Error, vip.ClassLocal, "query: cannot insert multiple commands into a prepared statement (SQLSTATE 42601)"},
		{"INSERT INTO ready VALUES (false) RETURNING 1", long, vip.Error, vip.ClassLocal, "query: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)"},
		{"SELECT pg_sleep(100)", 500 * time.Millisecond, vip.Fail, vip.ClassTimeout, "query: timed out"},
		{"SELECT repeat('x', 20000000)", long, vip.Fail, vip.ClassProtocol, ""},
		{"SELECT repeat('x', 100) FROM generate_series(1, 10000000)", long, vip.Fail, vip.ClassProtocol, "query: the server sends more than 256 KiB"},
	} {
		t.Run(tc.query, func(t *testing.T) {
			got := probe(t, &Postgres{Address: c.socket(), User: "probe", PasswordFile: password, Query: tc.query}, tc.timeout)
			if tc.detail == "" { // it names a number of bytes
				got.Detail = ""
			}
			expect(t, got, tc.outcome, tc.class, tc.detail)
		})
	}
	eventually(t, "the server has given up on what nobody waits for", func() bool {
		return c.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'anyvip'") == "0"
	})
	if n := c.sql(t, "SELECT count(*) FROM ready"); n != "1" {
		t.Errorf("%s rows: a probe has written", n)
	}
}

func realTLS(t *testing.T, c *cluster, password string) {
	certificate, ca := newCertificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "server.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})))
	c.write(t, "server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	ask := func(conf *TLS) vip.Result {
		got := probe(t, &Postgres{Address: "127.0.0.1:" + c.port, User: "tlsuser", PasswordFile: password, TLS: conf,
			Query: "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"}, long)
		got.Detail, _, _ = strings.Cut(got.Detail, "x509: ")
		return got
	}
	expect(t, ask(&TLS{CAFile: ca}), vip.Fail, vip.ClassTLS, "the server has no TLS")
	c.sql(t, "ALTER SYSTEM SET ssl = on")
	c.sql(t, "SELECT pg_reload_conf()")
	eventually(t, "the server has TLS", func() bool { return c.sql(t, "SHOW ssl") == "on" })
	eventually(t, "new sessions have TLS", func() bool { return ask(&TLS{CAFile: ca}).Detail != "the server has no TLS" })
	expect(t, ask(&TLS{CAFile: ca}), vip.Pass, vip.ClassNone, "primary")
	expect(t, ask(&TLS{InsecureSkipVerify: true}), vip.Pass, vip.ClassNone, "primary")
	expect(t, ask(&TLS{}), vip.Fail, vip.ClassTLS, "TLS handshake: tls: failed to verify certificate: ")
	expect(t, ask(&TLS{CAFile: ca, ServerName: "db.example.org"}), vip.Fail, vip.ClassTLS, "TLS handshake: tls: failed to verify certificate: ")
}

func realReplica(t *testing.T, primary *cluster, password string) {
	replica := primary.replica(t, "replica")
	ask := func(c *cluster, role string, lag time.Duration) vip.Result {
		return probe(t, &Postgres{Address: c.socket(), User: "probe", PasswordFile: password, Role: role, MaxLag: lag}, long)
	}
	isPass := func(detail string) func() bool {
		return func() bool {
			got := ask(replica, "replica", time.Hour)
			return got.Outcome == vip.Pass && strings.HasPrefix(got.Detail, detail)
		}
	}

	// A replica that takes no sessions says what one says that is starting up.
	replica.launch(t, "hot_standby=off")
	eventually(t, "the replica says that it is not ready", func() bool {
		got := ask(replica, "any", 0)
		return got.Outcome == vip.Fail && got.Class == vip.ClassStatus && strings.Contains(got.Detail, "(SQLSTATE 57P03)")
	})
	replica.end(syscall.SIGINT)
	expect(t, ask(replica, "any", 0), vip.Fail, vip.ClassRefused, "connect to "+replica.socket()+": no such file or directory")

	replica.start(t)
	expect(t, ask(replica, "any", 0), vip.Pass, vip.ClassNone, "replica")
	expect(t, ask(replica, "replica", 0), vip.Pass, vip.ClassNone, "replica")
	expect(t, ask(replica, "primary", 0), vip.Fail, vip.ClassStatus, "is a replica, not the primary")
	expect(t, ask(primary, "replica", 0), vip.Fail, vip.ClassStatus, "is the primary, not a replica")
	primary.sql(t, "INSERT INTO secret VALUES (1)")
	// Nothing to replay is no lag either, as long as the row has not even come.
	eventually(t, "the replica has replayed it", func() bool { return replica.sql(t, "SELECT pg_last_xact_replay_timestamp() IS NOT NULL") == "t" })
	eventually(t, "the replica has caught up", isPass("replica, 0s behind"))

	// What the reference says of a replica that has lost its primary.
	follows := &Postgres{Address: replica.socket(), User: "probe", PasswordFile: password, Query: "SELECT count(*) FROM pg_stat_wal_receiver"}
	expect(t, probe(t, follows, long), vip.Pass, vip.ClassNone, "replica")

	// Replay stands still: nothing to replay is no lag, however long ago the last one was.
	replica.sql(t, "SELECT pg_wal_replay_pause()")
	eventually(t, "replay stands still", func() bool { return replica.sql(t, "SELECT pg_get_wal_replay_pause_state()") == "paused" })
	<-time.After(300 * time.Millisecond)
	expect(t, ask(replica, "replica", 100*time.Millisecond), vip.Pass, vip.ClassNone, "replica, 0s behind")
	primary.sql(t, "INSERT INTO secret VALUES (2)")
	eventually(t, "the replica lags", func() bool {
		got := ask(replica, "replica", 100*time.Millisecond)
		return got.Outcome == vip.Fail && got.Class == vip.ClassStatus && strings.HasPrefix(got.Detail, "is a replica that is ") && strings.HasSuffix(got.Detail, " behind, more than 100ms")
	})
	expect(t, ask(replica, "replica", 0), vip.Pass, vip.ClassNone, "replica")
	if got := ask(replica, "replica", time.Hour); got.Outcome != vip.Pass || got.Detail == "replica, 0s behind" {
		t.Errorf("with an hour's patience: %+v", got)
	}
	replica.sql(t, "SELECT pg_wal_replay_resume()")
	eventually(t, "the replica has caught up again", isPass("replica, 0s behind"))

	// A primary that shuts down with a session open takes no more.
	session := command(t, primary.dir, primary.bin+"/psql", "-Xq", "-h", primary.dir, "-p", primary.port, "-U", "postgres", "-c", "SELECT pg_sleep(100)", "postgres")
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a session is open", func() bool {
		return primary.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(100)' AND state = 'active'") == "1"
	})
	signal(t, primary.cmd.Process.Pid, syscall.SIGTERM)
	eventually(t, "the primary shuts down", func() bool {
		got := ask(primary, "primary", 0)
		return got == vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: "log in: the database system is shutting down (SQLSTATE 57P03)"}
	})
	primary.end(syscall.SIGINT)
	_ = session.Wait()
	expect(t, ask(primary, "primary", 0), vip.Fail, vip.ClassRefused, "connect to "+primary.socket()+": no such file or directory")
	expect(t, probe(t, &Postgres{Address: "127.0.0.1:" + primary.port, User: "probe"}, long), vip.Fail, vip.ClassRefused, "connect to 127.0.0.1:"+primary.port+": connection refused")

	eventually(t, "the replica has lost its primary", func() bool {
		return probe(t, follows, long) == vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: `query: the answer is "0"`}
	})
	expect(t, ask(replica, "replica", time.Second), vip.Pass, vip.ClassNone, "replica, 0s behind")

	// Promoted, the replica is the primary to the same checker.
	c, err := (&Postgres{Address: replica.socket(), User: "probe", PasswordFile: password, Role: "primary"}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c.Probe(t.Context()), vip.Fail, vip.ClassStatus, "is a replica, not the primary")
	if got := replica.sql(t, "SELECT pg_promote()"); got != "t" {
		t.Errorf("pg_promote: %s", got)
	}
	expect(t, c.Probe(t.Context()), vip.Pass, vip.ClassNone, "primary")
	expect(t, ask(replica, "replica", time.Hour), vip.Fail, vip.ClassStatus, "is the primary, not a replica")

	// A server that stands still takes the connection, and no more.
	signal(t, replica.cmd.Process.Pid, syscall.SIGSTOP)
	start := time.Now()
	got := probe(t, &Postgres{Address: replica.socket(), User: "probe", PasswordFile: password}, short)
	expect(t, got, vip.Fail, vip.ClassTimeout, "log in: timed out")
	if took := time.Since(start); took > short+100*time.Millisecond {
		t.Logf("the probe took %s with a timeout of %s", took, short)
	}
	signal(t, replica.cmd.Process.Pid, syscall.SIGCONT)
	eventually(t, "the server is back", func() bool { return ask(replica, "primary", 0).Outcome == vip.Pass })
}

// BenchmarkPostgresProbe is one whole probe of a real server, a new process of it
// included.
func BenchmarkPostgresProbe(b *testing.B) {
	needProgram(b, "postgresql", postgresBin)
	c := newCluster(b, keptDir(b), "primary")
	c.sql(b, "CREATE ROLE probe LOGIN PASSWORD 'geheim'")
	password := filepath.Join(b.TempDir(), "password")
	if err := os.WriteFile(password, []byte("geheim"), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]*Postgres{
		"trust": {Address: c.socket(), User: "postgres", Role: "primary"},
		"scram": {Address: "127.0.0.1:" + c.port, User: "probe", PasswordFile: password, Role: "primary"},
	} {
		b.Run(fmt.Sprintf("auth=%s", name), func(b *testing.B) { benchmarkProbe(b, k) })
	}
}
