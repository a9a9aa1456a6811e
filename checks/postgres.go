package checks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/anyvip/anyvip/pkg/vip"
)

const (
	maxSession  = 256 << 10 // bytes that a server may send in one probe, TLS included
	maxPassword = 4 << 10   // bytes of a password file that are read

	// lagPause is how long a replica has to catch up before it counts as lagging.
	lagPause = 50 * time.Millisecond

	// statementGrace is how long after the probe's timeout the server gives up on
	// a statement.
	statementGrace = 100 * time.Millisecond
)

// Postgres logs in to a PostgreSQL server (10 or later) and asks what it is and how
// it is.
//
// Each probe is a new connection, so that it fares as a new client would; that costs
// the server a process each time. The session is called anyvip and is read-only, so
// that no query changes data by accident, and the server ends its statements soon
// after the probe's timeout. Neither the environment (PGHOST and the like) nor files
// in a home directory count.
//
// What the server says by its error code (SQLSTATE) decides: where it refuses the
// user, the database or the statement itself, we could not ask (error); with
// everything else, such as a server that starts up, shuts down or is full, it fails.
type Postgres struct {
	Address      string        `yaml:"address" doc:"HOST:PORT, or the directory of a unix socket (then port 5432), or the socket, like /var/run/postgresql/.s.PGSQL.5433"`
	User         string        `yaml:"user" doc:"who logs in; needs no right but to connect, and what query needs"`
	Database     string        `yaml:"database" default:"postgres" doc:"where to log in to"`
	PasswordFile string        `yaml:"password_file" doc:"the password, the file's first line; absolute path, read at each probe; default: no password"`
	TLS          *TLS          `yaml:"tls" doc:"insist on TLS, and whom to trust; {}: the system's certificates. Without it nothing is encrypted, and no password goes out in clear text but over a unix socket"`
	Role         string        `yaml:"role" default:"any" doc:"what the server must be: any, primary or replica"`
	MaxLag       time.Duration `yaml:"max_lag" doc:"with role replica: fails if the last transaction it replayed is older than this while there is more to replay; what the primary did not send it, it cannot know of; default: any lag"`
	Query        string        `yaml:"query" doc:"one statement that must succeed, and whose first row must begin with something else than false, f, 0, NULL or nothing; it cannot write. Default: none"`
}

// Describe returns postgres, and where to log in to as whom.
func (p *Postgres) Describe() (name, target string) {
	return "postgres", fmt.Sprintf("%s %s as %s", p.Address, p.database(), p.User)
}

func (p *Postgres) connectsTo() string { return p.Address }

func (p *Postgres) database() string { return cmp.Or(p.Database, "postgres") }

// Checker prepares the probe. An error means that this process cannot even open a pipe.
func (p *Postgres) Checker() (Checker, error) {
	config, err := bareConfig()
	if err != nil {
		return nil, err
	}
	config.User, config.Database = p.User, p.database()
	c := &postgresChecker{Postgres: p, config: config}
	c.network, c.address = p.where()
	if p.TLS != nil {
		host, _, _ := net.SplitHostPort(p.Address)
		c.trust = newTrust(p.TLS, host, "postgresql")
	} else if c.network == "tcp" {
		config.RequireAuth = "!password"
	}
	return c, nil
}

// postgresChecker connects by itself and leaves only the log-in and the statements
// to pgconn: so all kinds of check dial, trust and classify alike.
type postgresChecker struct {
	*Postgres
	network, address string
	config           *pgconn.Config
	trust            *trust // nil: no TLS
}

// Probe logs in, asks, judges and logs out.
func (p *postgresChecker) Probe(ctx context.Context) vip.Result {
	password, err := p.password()
	if err != nil {
		return couldNotAsk(fmt.Errorf("password_file: %w", err))
	}
	c, failed := p.connect(ctx)
	if failed != nil {
		return *failed
	}
	defer c.Close()
	session := net.Conn(&bounded{Conn: c, left: maxSession})
	if p.trust != nil {
		if session, failed = p.startTLS(session); failed != nil {
			return *failed
		}
	}
	pg, failed := p.logIn(ctx, session, password)
	if failed != nil {
		return *failed
	}
	defer hangUp(pg, c)
	detail, failed := p.askRole(ctx, pg)
	if failed != nil {
		return *failed
	}
	if failed = p.askQuery(pg); failed != nil {
		return *failed
	}
	return vip.Result{Outcome: vip.Pass, Detail: detail}
}

// password reads the password file's first line.
func (p *postgresChecker) password() (string, error) {
	if p.PasswordFile == "" {
		return "", nil
	}
	file, err := openRegular(p.PasswordFile)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPassword))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// connect dials. A unix socket that is not there is one whose server has stopped,
// and EAGAIN means that its server accepts nobody: its queue is full.
func (p *postgresChecker) connect(ctx context.Context) (net.Conn, *vip.Result) {
	c, err := dial(ctx, p.network, p.address)
	if err == nil {
		return c, nil
	}
	r := failure("connect to "+p.address, err, vip.ClassUnreachable)
	if p.network == "unix" && (errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EAGAIN)) {
		r.Outcome, r.Class = vip.Fail, vip.ClassRefused
	}
	return nil, &r
}

// sslRequest asks for TLS: a length, and a number that is no version.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// startTLS makes c a TLS connection, or returns the result of the probe.
func (p *postgresChecker) startTLS(c net.Conn) (net.Conn, *vip.Result) {
	_, err := c.Write(sslRequest)
	var answer [1]byte
	if err == nil {
		_, err = io.ReadFull(c, answer[:])
	}
	switch {
	case err != nil:
		r := failure("ask for TLS", err, vip.ClassProtocol)
		return nil, &r
	case answer[0] == 'S':
		return p.trust.handshake(c)
	case answer[0] == 'N':
		return nil, &vip.Result{Outcome: vip.Fail, Class: vip.ClassTLS, Detail: "the server has no TLS"}
	}
	return nil, &vip.Result{Outcome: vip.Fail, Class: vip.ClassProtocol, Detail: fmt.Sprintf("ask for TLS: the answer is %q", answer[:])}
}

// logIn starts a session on c. Its contexts are Background, since c ends by the
// probe's own.
func (p *postgresChecker) logIn(ctx context.Context, c net.Conn, password string) (*pgconn.PgConn, *vip.Result) {
	config := p.config.Copy()
	config.Password = password
	config.RuntimeParams = map[string]string{"application_name": "anyvip", "default_transaction_read_only": "on"}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline) + statementGrace
		config.RuntimeParams["statement_timeout"] = strconv.FormatInt(max(1, left.Milliseconds()), 10)
	}
	// One connection, and no second one: pgconn would ask for it to have a statement
	// cancelled, and wait for that beyond the end of the probe.
	given := false
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if given {
			return nil, net.ErrClosed
		}
		given = true
		return c, nil
	}
	pg, err := pgconn.ConnectConfig(context.Background(), config)
	if err == nil {
		return pg, nil
	}
	c.Close()
	r := p.failed("log in", err)
	if r.Class == vip.ClassProtocol && config.RequireAuth != "" && strings.Contains(err.Error(), config.RequireAuth) {
		r.Outcome, r.Class, r.Detail = vip.Error, vip.ClassLocal, "log in: the server wants the password in clear text, which takes tls"
	}
	return nil, &r
}

// hangUp ends the session, politely where that can be, and waits until nothing of
// it is left. c is what it runs on.
func hangUp(pg *pgconn.PgConn, c net.Conn) {
	_ = pg.Close(context.Background()) // a session that broke is closed already
	c.Close()
	<-pg.CleanupDone()
}

const (
	roleQuery = "SELECT pg_is_in_recovery()"

	// lagQuery: seconds, or NULL for a server that has replayed no transaction yet.
	lagQuery = "SELECT pg_is_in_recovery(), CASE WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() THEN 0 " +
		"ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END"
)

// askRole compares what the server is with Role and MaxLag. Its first result is what
// to say of a server that passes.
func (p *postgresChecker) askRole(ctx context.Context, pg *pgconn.PgConn) (string, *vip.Result) {
	wrong := func(detail string) (string, *vip.Result) {
		return "", &vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: detail}
	}
	query := roleQuery
	if p.MaxLag != 0 {
		query = lagQuery
	}
	for patient := true; ; patient = false {
		row, err := firstRow(pg, query)
		if err != nil {
			r := p.failed("ask for its role", err)
			return "", &r
		}
		replica := len(row) != 0 && string(row[0]) == "t"
		switch {
		case p.Role == "primary" && replica:
			return wrong("is a replica, not the primary")
		case p.Role == "replica" && !replica:
			return wrong("is the primary, not a replica")
		case !replica:
			return "primary", nil
		case p.MaxLag == 0:
			return "replica", nil
		}
		lag, known := seconds(row[len(row)-1])
		if known && lag <= p.MaxLag {
			return fmt.Sprintf("replica, %s behind", max(0, lag).Round(time.Millisecond)), nil
		}
		// After a quiet hour the first change is an hour behind until it is replayed.
		if patient && pause(ctx, lagPause) {
			continue
		}
		if !known {
			return wrong("is a replica that has replayed no transaction yet")
		}
		return wrong(fmt.Sprintf("is a replica that is %s behind, more than %s", lag.Round(time.Millisecond), p.MaxLag))
	}
}

// askQuery judges what Query returns; nil is a pass.
func (p *postgresChecker) askQuery(pg *pgconn.PgConn) *vip.Result {
	if p.Query == "" {
		return nil
	}
	row, err := firstRow(pg, p.Query)
	if err != nil {
		r := p.failed("query", err)
		return &r
	}
	if len(row) == 0 {
		return &vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: "query: no row"}
	}
	switch value := string(row[0]); value {
	case "false", "f", "0", "":
		if row[0] == nil {
			value = "NULL"
		}
		return &vip.Result{Outcome: vip.Fail, Class: vip.ClassBody, Detail: fmt.Sprintf("query: the answer is %q", value)}
	}
	return nil
}

// firstRow runs one statement to its end and returns its first row, empty if there
// is none. A NULL in it is nil.
func firstRow(pg *pgconn.PgConn, statement string) (row [][]byte, err error) {
	reader := pg.ExecParams(context.Background(), statement, nil, nil, nil, nil)
	if reader.NextRow() {
		for _, value := range reader.Values() {
			row = append(row, bytes.Clone(value))
		}
	}
	_, err = reader.Close()
	return row, err
}

// failed is the result of a log-in or statement that ended in err.
func (p *postgresChecker) failed(doing string, err error) vip.Result {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		r := vip.Result{Outcome: vip.Fail, Class: vip.ClassStatus, Detail: fmt.Sprintf("%s: %s (SQLSTATE %s)", doing, said.Message, said.Code)}
		if slices.Contains(ourFault, said.Code) {
			r.Outcome, r.Class = vip.Error, vip.ClassLocal
		}
		return r
	}
	return failure(doing, innermost(err), vip.ClassProtocol)
}

// ourFault are the errors that tell of our configuration, not of the service.
var ourFault = []string{
	"08P01", // protocol_violation: PgBouncer does not know a parameter of the session
	"25006", // read_only_sql_transaction
	"28000", // invalid_authorization_specification: no such user, or pg_hba.conf does not let us in
	"28P01", // invalid_password
	"3D000", // invalid_catalog_name: no such database
	"42501", // insufficient_privilege
	"42601", // syntax_error
}

// innermost is the error at the bottom of err: pgconn wraps each in what it was told
// to connect to, which is not what we connect to.
func innermost(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // this looks at each in turn
		case syscall.Errno, net.Error:
			return err
		case interface{ Unwrap() error }:
			inner := e.Unwrap()
			if inner == nil {
				return errors.New(strings.TrimSuffix(err.Error(), ": %!w(<nil>)")) // pgconn wraps what is not there
			}
			err = inner
		case interface{ Unwrap() []error }:
			err = e.Unwrap()[0]
		default:
			return err
		}
	}
}

// seconds reads a number of seconds; there is none in NULL.
func seconds(text []byte) (time.Duration, bool) {
	s, err := strconv.ParseFloat(string(text), 64)
	return time.Duration(s * float64(time.Second)), err == nil
}

// pause waits, and says whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bounded is a connection from which only so much is read.
type bounded struct {
	net.Conn
	left int
}

var errLongSession = fmt.Errorf("the server sends more than %d KiB", maxSession>>10)

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errLongSession
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
