package checks

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestPostgres(t *testing.T) {
	primary := tells([]byte("f"), nil, []byte("t"))
	replica := func(lag string) func(net.Conn, *pgproto3.Backend, string) {
		return tells([]byte("t"), []byte(lag), []byte("t"))
	}
	for _, tc := range []struct {
		name    string
		server  postgresFake
		ask     Postgres
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{"a primary", postgresFake{statement: primary}, Postgres{}, long, vip.Pass, vip.ClassNone, "primary"},
		{"a replica", postgresFake{statement: replica("")}, Postgres{Role: "any"}, long, vip.Pass, vip.ClassNone, "replica"},
		{"the primary that is wanted", postgresFake{statement: primary}, Postgres{Role: "primary"}, long, vip.Pass, vip.ClassNone, "primary"},
		{"the replica that is wanted", postgresFake{statement: replica("")}, Postgres{Role: "replica"}, long, vip.Pass, vip.ClassNone, "replica"},
		{"a replica in place of the primary", postgresFake{statement: replica("")}, Postgres{Role: "primary"}, long, vip.Fail, vip.ClassStatus, "is a replica, not the primary"},
		{"the primary in place of a replica", postgresFake{statement: primary}, Postgres{Role: "replica", MaxLag: time.Second}, long, vip.Fail, vip.ClassStatus, "is the primary, not a replica"},
		{"a replica that is close behind", postgresFake{statement: replica("0.9999")}, Postgres{Role: "replica", MaxLag: time.Second}, long, vip.Pass, vip.ClassNone, "replica, 1s behind"},
		{"a replica whose clock is behind", postgresFake{statement: replica("-3")}, Postgres{Role: "replica", MaxLag: time.Second}, long, vip.Pass, vip.ClassNone, "replica, 0s behind"},
		{"a replica that is far behind", postgresFake{statement: replica("61.5")}, Postgres{Role: "replica", MaxLag: time.Minute}, long,
			vip.Fail, vip.ClassStatus, "is a replica that is 1m1.5s behind, more than 1m0s"},
		{"a replica that catches up at once", postgresFake{statement: catchesUp()}, Postgres{Role: "replica", MaxLag: time.Minute}, long, vip.Pass, vip.ClassNone, "replica, 0s behind"},
		{"a replica that has replayed nothing", postgresFake{statement: tells([]byte("t"), nil, nil)}, Postgres{Role: "replica", MaxLag: time.Minute}, long,
			vip.Fail, vip.ClassStatus, "is a replica that has replayed no transaction yet"},

		{"a query", postgresFake{statement: primary}, Postgres{Query: "q"}, long, vip.Pass, vip.ClassNone, "primary"},
		{"a query that says f", postgresFake{statement: tells([]byte("f"), nil, []byte("f"))}, Postgres{Query: "q"}, long, vip.Fail, vip.ClassBody, `query: the answer is "f"`},
		{"a query that says 0", postgresFake{statement: tells([]byte("f"), nil, []byte("0"))}, Postgres{Query: "q"}, long, vip.Fail, vip.ClassBody, `query: the answer is "0"`},
		{"a query that says nothing", postgresFake{statement: tells([]byte("f"), nil, []byte{})}, Postgres{Query: "q"}, long, vip.Fail, vip.ClassBody, `query: the answer is ""`},
		{"a query that says NULL", postgresFake{statement: tells([]byte("f"), nil, nil)}, Postgres{Query: "q"}, long, vip.Fail, vip.ClassBody, `query: the answer is "NULL"`},
		{"a query without a row", postgresFake{statement: afterRole(func(_ net.Conn, b *pgproto3.Backend) { rows(b) })}, Postgres{Query: "q"}, long,
			vip.Fail, vip.ClassBody, "query: no row"},
		{"a query with many rows", postgresFake{statement: afterRole(func(_ net.Conn, b *pgproto3.Backend) { rows(b, columns("1", "x"), columns("0")) })}, Postgres{Query: "q"}, long,
			vip.Pass, vip.ClassNone, "primary"},
		{"a query that fails in the middle", postgresFake{statement: afterRole(func(_ net.Conn, b *pgproto3.Backend) {
			b.Send(&pgproto3.DataRow{Values: columns("1")})
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "22012", Message: "division by zero"})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_ = b.Flush()
		})}, Postgres{Query: "q"}, long, vip.Fail, vip.ClassStatus, "query: division by zero (SQLSTATE 22012)"},

		{"starting up", postgresFake{start: refuses("57P03", "the database system is starting up")}, Postgres{}, long,
			vip.Fail, vip.ClassStatus, "log in: the database system is starting up (SQLSTATE 57P03)"},
		{"full", postgresFake{start: refuses("53300", "sorry, too many clients already")}, Postgres{}, long,
			vip.Fail, vip.ClassStatus, "log in: sorry, too many clients already (SQLSTATE 53300)"},
		{"ended by its administrator", postgresFake{statement: func(c net.Conn, b *pgproto3.Backend, _ string) {
			refuses("57P01", "terminating connection due to administrator command")(c, b)
		}}, Postgres{}, long, vip.Fail, vip.ClassStatus, "ask for its role: terminating connection due to administrator command (SQLSTATE 57P01)"},
		{"a wrong password", postgresFake{start: refuses("28P01", "password authentication failed")}, Postgres{}, long,
			vip.Error, vip.ClassLocal, "log in: password authentication failed (SQLSTATE 28P01)"},
		{"PgBouncer that does not know our parameters", postgresFake{start: refuses("08P01", "unsupported startup parameter: statement_timeout")}, Postgres{}, long,
			vip.Error, vip.ClassLocal, "log in: unsupported startup parameter: statement_timeout (SQLSTATE 08P01)"},
		{"a password in clear text is not sent without TLS", postgresFake{start: func(_ net.Conn, b *pgproto3.Backend) bool {
			b.Send(&pgproto3.AuthenticationCleartextPassword{})
			_ = b.Flush()
			if m, err := b.Receive(); err == nil {
				t.Errorf("the client sent %#v", m)
			}
			return false
		}}, Postgres{}, long, vip.Error, vip.ClassLocal, "log in: the server wants the password in clear text, which takes tls"},

		{"accepts and never speaks", postgresFake{start: starts("")}, Postgres{}, short, vip.Fail, vip.ClassTimeout, "log in: timed out"},
		{"begins a message and never ends it", postgresFake{start: starts("R\x00\x00")}, Postgres{}, short, vip.Fail, vip.ClassTimeout, "log in: timed out"},
		{"never answers a statement", postgresFake{statement: func(net.Conn, *pgproto3.Backend, string) {}}, Postgres{}, short,
			vip.Fail, vip.ClassTimeout, "ask for its role: timed out"},
		{"never answers the query", postgresFake{statement: afterRole(func(net.Conn, *pgproto3.Backend) {})}, Postgres{Query: "q"}, short,
			vip.Fail, vip.ClassTimeout, "query: timed out"},
		{"a message in a trickle", postgresFake{start: func(c net.Conn, _ *pgproto3.Backend) bool {
			trickles("S\x00\x00\xff\xff", 'x')(c.(*net.TCPConn))
			return false
		}}, Postgres{}, short, vip.Fail, vip.ClassTimeout, "log in: timed out"},
		{"closes at once", postgresFake{start: closes}, Postgres{}, long, vip.Fail, vip.ClassReset, "log in: the connection was closed in the middle"},
		{"closes in the middle of a message", postgresFake{start: func(c net.Conn, b *pgproto3.Backend) bool {
			starts("R\x00\x00\x00")(c, b)
			return closes(c, b)
		}}, Postgres{}, long, vip.Fail, vip.ClassReset, "log in: the connection was closed in the middle"},
		{"resets in the middle of a statement", postgresFake{statement: func(c net.Conn, _ *pgproto3.Backend, _ string) {
			_, _ = io.WriteString(c, "T\x00\x00")
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}}, Postgres{}, long, vip.Fail, vip.ClassReset, "ask for its role: connection reset by peer"},

		{"no PostgreSQL", postgresFake{start: starts("HTTP/1.1 400 Bad Request\r\n\r\n")}, Postgres{}, long,
			vip.Fail, vip.ClassProtocol, "log in: invalid body length: expected at most 262144, but got 1414811691"},
		{"a message that nobody knows", postgresFake{start: starts("q\x00\x00\x00\x04")}, Postgres{}, long, vip.Fail, vip.ClassProtocol, "log in: unknown message type: q"},
		{"a message at the wrong time", postgresFake{start: starts("I\x00\x00\x00\x04")}, Postgres{}, long, vip.Fail, vip.ClassProtocol, "log in: received unexpected message"},
		{"ready without having let us in", postgresFake{start: starts("Z\x00\x00\x00\x05I")}, Postgres{}, long,
			vip.Fail, vip.ClassProtocol, "log in: received ReadyForQuery before AuthenticationOk"},
		{"garbage in an answer", postgresFake{statement: func(c net.Conn, _ *pgproto3.Backend, _ string) { _, _ = io.WriteString(c, "T\x00\x00\x00\x05x") }}, Postgres{}, long,
			vip.Fail, vip.ClassProtocol, "ask for its role: RowDescription body is invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections atomic.Int32
			tc.ask.Address = serve(t, func(c *net.TCPConn) {
				connections.Add(1)
				tc.server.handle(c)
			})
			tc.ask.User = "anyvip"
			expect(t, probe(t, &tc.ask, tc.timeout), tc.outcome, tc.class, tc.detail)
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestPostgresWithoutAConnection(t *testing.T) {
	refused, dropped := nobody(t), deaf(t)
	ask := func(address string, timeout time.Duration) vip.Result {
		return probe(t, &Postgres{Address: address, User: "anyvip"}, timeout)
	}
	expect(t, ask(refused, long), vip.Fail, vip.ClassRefused, "connect to "+refused+": connection refused")
	expect(t, ask(dropped, short), vip.Fail, vip.ClassTimeout, "connect to "+dropped+": timed out")
	expect(t, ask("no..such:5432", long), vip.Error, vip.ClassResolve, "connect to no..such:5432: lookup no..such: no such host")
	expect(t, ask("255.255.255.255:1", long), vip.Fail, vip.ClassUnreachable, "connect to 255.255.255.255:1: network is unreachable")

	dir := t.TempDir()
	at := filepath.Join(dir, ".s.PGSQL.5432")
	expect(t, ask(dir, long), vip.Fail, vip.ClassRefused, "connect to "+at+": no such file or directory")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	expect(t, ask(dir, long), vip.Fail, vip.ClassRefused, "connect to "+at+": connection refused")
	full := filepath.Join(dir, ".s.PGSQL.5433")
	deafSocket(t, full)
	expect(t, ask(full, long), vip.Fail, vip.ClassRefused, "connect to "+full+": resource temporarily unavailable")
	writeFile(t, filepath.Join(dir, ".s.PGSQL.5434"), "")
	expect(t, ask(filepath.Join(dir, ".s.PGSQL.5434"), long), vip.Fail, vip.ClassRefused, "connect to "+dir+"/.s.PGSQL.5434: connection refused")

	c, err := (&Postgres{Address: refused, User: "anyvip"}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	withoutDescriptors(t, func() {
		expect(t, c.Probe(t.Context()), vip.Error, vip.ClassLocal, "connect to "+refused+": too many open files")
		if _, err := (&Postgres{Address: refused, User: "anyvip"}).Checker(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("a checker without a pipe: %v", err)
		}
	})
}

// deafSocket is a unix socket whose listener takes nobody: its queue is full.
func deafSocket(t *testing.T, name string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", name)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestPostgresPasswordFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "password")
	heard := make(chan string, 1)
	socket := serveSocket(t, postgresFake{
		start: func(c net.Conn, b *pgproto3.Backend) bool {
			b.Send(&pgproto3.AuthenticationCleartextPassword{})
			_ = b.Flush()
			_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
			if m, err := b.Receive(); err == nil {
				heard <- m.(*pgproto3.PasswordMessage).Password
			}
			return welcome(c, b)
		},
		statement: tells([]byte("f"), nil, nil),
	})
	c, err := (&Postgres{Address: socket, User: "anyvip", PasswordFile: file}).Checker()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c.Probe(t.Context()), vip.Error, vip.ClassLocal, "password_file: stat "+file+": no such file or directory")
	for content, want := range map[string]string{"": "", "geheim": "geheim", "ge heim \r\nmore": "ge heim ", strings.Repeat("x", 2*maxPassword): strings.Repeat("x", maxPassword)} {
		writeFile(t, file, content)
		expect(t, c.Probe(t.Context()), vip.Pass, vip.ClassNone, "primary")
		if got := <-heard; got != want {
			t.Errorf("with %.20q in the file: %.20q", content, got)
		}
	}
	expect(t, probe(t, &Postgres{Address: socket, User: "anyvip", PasswordFile: fifo}, long), vip.Error, vip.ClassLocal, "password_file: "+fifo+" is a FIFO, not a regular file")
}

// Whatever libpq and pgconn look at is set, and would break every probe or send it
// elsewhere. None of it counts.
func TestPostgresKnowsNoEnvironment(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	writeFile(t, filepath.Join(home, ".pgpass"), "*:*:*:*:stolen\n")
	writeFile(t, filepath.Join(home, ".pg_service.conf"), "[elsewhere]\nhost=255.255.255.255\nuser=eve\noptions=-c search_path=evil\nsslmode=require\n")
	if err := os.Mkdir(filepath.Join(home, ".postgresql"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgresql.crt", "postgresql.key", "root.crt"} {
		writeFile(t, filepath.Join(home, ".postgresql", name), "rubbish")
	}
	for _, service := range []string{"elsewhere", "that nobody knows"} {
		for name, value := range map[string]string{
			"PGHOST": "255.255.255.255", "PGPORT": "1,2,3", "PGDATABASE": "evil", "PGUSER": "eve", "PGPASSWORD": "stolen", "PGPASSFILE": filepath.Join(home, ".pgpass"),
			"PGAPPNAME": "evil", "PGCONNECT_TIMEOUT": "never", "PGSSLMODE": "rubbish", "PGSSLKEY": "/nowhere", "PGSSLCERT": "/nowhere", "PGSSLCERTMODE": "rubbish",
			"PGSSLSNI": "1", "PGSSLROOTCERT": "/nowhere", "PGSSLPASSWORD": "x", "PGSSLNEGOTIATION": "direct", "PGTARGETSESSIONATTRS": "rubbish",
			"PGSERVICE": service, "PGSERVICEFILE": filepath.Join(home, ".pg_service.conf"), "PGTZ": "Mars/Olympus", "PGOPTIONS": "-c default_transaction_read_only=off",
			"PGMINPROTOCOLVERSION": "9.9", "PGMAXPROTOCOLVERSION": "9.9", "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "gss", "PGCLIENTENCODING": "rubbish",
			"PGDATESTYLE": "rubbish", "PGGEQO": "rubbish", "PGKRBSRVNAME": "rubbish", "PGGSSENCMODE": "require", "PGHOSTADDR": "255.255.255.255", "PGSYSCONFDIR": home,
		} {
			t.Setenv(name, value)
		}
		started := make(chan map[string]string, 1)
		heard := make(chan string, 1)
		socket := serveSocket(t, postgresFake{
			start: func(c net.Conn, b *pgproto3.Backend) bool {
				b.Send(&pgproto3.AuthenticationCleartextPassword{})
				_ = b.Flush()
				_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
				if m, err := b.Receive(); err == nil {
					heard <- m.(*pgproto3.PasswordMessage).Password
				}
				return welcome(c, b)
			},
			statement:  tells([]byte("f"), nil, nil),
			parameters: func(p map[string]string) { started <- p },
		})
		c, err := (&Postgres{Address: socket, User: "anyvip", Database: "app"}).Checker()
		if err != nil {
			t.Fatal(err)
		}
		expect(t, c.Probe(t.Context()), vip.Pass, vip.ClassNone, "primary")
		want := map[string]string{"user": "anyvip", "database": "app", "application_name": "anyvip", "default_transaction_read_only": "on"}
		if diff := cmp.Diff(want, <-started); diff != "" {
			t.Errorf("the session starts with (-want +got):\n%s", diff)
		}
		if password := <-heard; password != "" {
			t.Errorf("the password is %q", password)
		}
	}
}

func TestPostgresSessionIsEndedByBothSides(t *testing.T) {
	started := make(chan map[string]string, 1)
	ended := make(chan error, 1)
	f := postgresFake{statement: tells([]byte("f"), nil, nil), ended: func(how error) { ended <- how }, parameters: func(p map[string]string) { started <- p }}
	address := serve(t, func(c *net.TCPConn) { f.handle(c) })
	expect(t, probe(t, &Postgres{Address: address, User: "anyvip"}, long), vip.Pass, vip.ClassNone, "primary")
	if how := <-ended; how != nil {
		t.Errorf("the session ended with %v, without a word", how)
	}
	limit := (<-started)["statement_timeout"]
	if d, err := time.ParseDuration(limit + "ms"); err != nil || d <= long || d > long+statementGrace {
		t.Errorf("the server is to give up after %q ms", limit)
	}
}

// Whatever a server sends, little of it is read.
func TestPostgresDoesNotReadAGigabyte(t *testing.T) {
	const size = 1 << 30
	tooLong := "the server sends more than 256 KiB"
	for _, tc := range []struct {
		name   string
		header []byte // of what is sent again and again
		once   bool   // only its first time with the header
		begun  bool   // the session
		detail string
	}{
		{"one row of 1 GB", []byte{'D', 0x3f, 0xff, 0xff, 0xff, 0, 1}, true, true, "query: invalid body length: expected at most 262144, but got 1073741819"},
		{"rows without end", append([]byte{'D', 0, 0, 0, 60, 0, 1, 0, 0, 0, 50}, bytes.Repeat([]byte{'x'}, 50)...), false, true, "query: " + tooLong},
		{"notices without end", append([]byte{'N', 0, 0, 0, 60, 'M'}, append(bytes.Repeat([]byte{'x'}, 53), 0, 0)...), false, true, "query: " + tooLong},
		{"parameters without end", append([]byte{'S', 0, 0, 0, 60}, append(bytes.Repeat([]byte{'x'}, 27), append([]byte{0}, append(bytes.Repeat([]byte{'y'}, 27), 0)...)...)...), false, false, "log in: " + tooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent := make(chan int, 1)
			flood := func(c net.Conn) {
				block := bytes.Repeat(tc.header, 1+(64<<10)/len(tc.header))
				if tc.once {
					block = append(bytes.Clone(tc.header), make([]byte, 64<<10)...)
				}
				total := 0
				for total < size {
					n, err := c.Write(block)
					total += n
					if err != nil {
						break
					}
				}
				sent <- total
			}
			f := postgresFake{statement: afterRole(func(c net.Conn, _ *pgproto3.Backend) { flood(c) })}
			if !tc.begun {
				f.start = func(c net.Conn, _ *pgproto3.Backend) bool {
					flood(c)
					return false
				}
			}
			address := serve(t, func(c *net.TCPConn) { f.handle(c) })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			expect(t, probe(t, &Postgres{Address: address, User: "anyvip", Query: "q"}, long), vip.Fail, vip.ClassProtocol, tc.detail)
			total := <-sent
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("the server got rid of %d KiB, %d KiB were allocated", total>>10, allocated>>10)
			if total > 32<<20 {
				t.Errorf("the server got rid of %d MiB", total>>20)
			}
			if allocated > 4<<20 {
				t.Errorf("%d KiB were allocated", allocated>>10)
			}
		})
	}
}

// newCertificate is made out to example.com and 127.0.0.1; the CA file vouches for it.
func newCertificate(t *testing.T) (certificate tls.Certificate, caFile string) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.TLS.Certificates[0], caFile
}

func TestPostgresTLS(t *testing.T) {
	certificate, ca := newCertificate(t)
	ask := func(start func(c *net.TCPConn), conf *TLS, timeout time.Duration) vip.Result {
		t.Helper()
		address := serve(t, func(c *net.TCPConn) {
			request := make([]byte, len(sslRequest))
			if _, err := io.ReadFull(c, request); err != nil || !bytes.Equal(request, sslRequest) {
				t.Errorf("asked %q, error %v", request, err)
			}
			start(c)
		})
		return probe(t, &Postgres{Address: address, User: "anyvip", TLS: conf}, timeout)
	}
	encrypted := func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "S")
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"postgresql"}})
		if s.Handshake() == nil {
			postgresFake{statement: tells([]byte("f"), nil, nil)}.handle(s)
		}
	}
	plain := func(text string, then func(*net.TCPConn)) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			_, _ = io.WriteString(c, text)
			then(c)
		}
	}
	for _, tc := range []struct {
		name    string
		start   func(*net.TCPConn)
		tls     *TLS
		timeout time.Duration
		outcome vip.Outcome
		class   vip.Class
		detail  string // how it starts
	}{
		{"a certificate that the CA file vouches for", encrypted, &TLS{CAFile: ca}, long, vip.Pass, vip.ClassNone, "primary"},
		{"made out to the name that we ask for", encrypted, &TLS{CAFile: ca, ServerName: "example.com"}, long, vip.Pass, vip.ClassNone, "primary"},
		{"made out to another name", encrypted, &TLS{CAFile: ca, ServerName: "db.example.org"}, long, vip.Fail, vip.ClassTLS,
			"TLS handshake: tls: failed to verify certificate: x509: certificate is valid for "},
		{"of an unknown CA", encrypted, &TLS{}, long, vip.Fail, vip.ClassTLS, "TLS handshake: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"of an unknown CA, and nobody cares", encrypted, &TLS{InsecureSkipVerify: true}, long, vip.Pass, vip.ClassNone, "primary"},
		{"a CA file that is not there", encrypted, &TLS{CAFile: "/no/ca.pem"}, long, vip.Error, vip.ClassLocal, "ca_file: open /no/ca.pem: no such file or directory"},
		{"a server without TLS", plain("N", silent), &TLS{}, long, vip.Fail, vip.ClassTLS, "the server has no TLS"},
		{"an error before TLS", plain("E", silent), &TLS{}, long, vip.Fail, vip.ClassProtocol, `ask for TLS: the answer is "E"`},
		{"no answer", silent, &TLS{}, short, vip.Fail, vip.ClassTimeout, "ask for TLS: timed out"},
		{"closed", func(*net.TCPConn) {}, &TLS{}, long, vip.Fail, vip.ClassReset, "ask for TLS: the connection was closed in the middle"},
		{"agreed, then silence", plain("S", silent), &TLS{}, short, vip.Fail, vip.ClassTimeout, "TLS handshake: timed out"},
		{"agreed, then garbage", plain("S", says("no TLS at all")), &TLS{}, long, vip.Fail, vip.ClassTLS, "TLS handshake: tls: first record does not look like a TLS handshake"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ask(tc.start, tc.tls, tc.timeout)
			if !strings.HasPrefix(got.Detail, tc.detail) {
				t.Errorf("detail %q, want %q...", got.Detail, tc.detail)
			}
			got.Detail = ""
			expect(t, got, tc.outcome, tc.class, "")
		})
	}
}
