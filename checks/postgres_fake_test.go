package checks

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A postgresFake is what a test's server says: to the start of a session, and to
// each statement after it.
type postgresFake struct {
	start     func(c net.Conn, b *pgproto3.Backend) bool // whether the session has begun
	statement func(c net.Conn, b *pgproto3.Backend, sql string)
	ended     func(how error) // nil: by the client's Terminate

	parameters func(map[string]string) // hears those of the session
}

// handle serves one connection.
func (f postgresFake) handle(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	m, err := b.ReceiveStartupMessage()
	start, ok := m.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	if f.parameters != nil {
		f.parameters(start.Parameters)
	}
	if f.start == nil {
		f.start = welcome
	}
	if !f.start(c, b) {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	err = f.statements(c, b)
	if f.ended != nil {
		f.ended(err)
	}
}

func (f postgresFake) statements(c net.Conn, b *pgproto3.Backend) error {
	sql := ""
	for {
		m, err := b.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			sql = m.Query
		case *pgproto3.Sync:
			f.statement(c, b, sql)
		case *pgproto3.Terminate:
			return nil
		}
	}
}

func welcome(_ net.Conn, b *pgproto3.Backend) bool {
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return b.Flush() == nil
}

// refuses is the start of a session that does not begin.
func refuses(code, message string) func(net.Conn, *pgproto3.Backend) bool {
	return func(c net.Conn, b *pgproto3.Backend) bool {
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: message})
		_ = b.Flush()
		c.Close()
		return false
	}
}

// starts is a session that begins with something else than it should.
func starts(text string) func(net.Conn, *pgproto3.Backend) bool {
	return func(c net.Conn, _ *pgproto3.Backend) bool {
		_, _ = io.WriteString(c, text)
		return false
	}
}

// rows answers a statement with rows of one or more columns; nil is NULL.
func rows(b *pgproto3.Backend, rows ...[][]byte) {
	b.Send(&pgproto3.ParseComplete{})
	b.Send(&pgproto3.BindComplete{})
	b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a")}}})
	for _, row := range rows {
		b.Send(&pgproto3.DataRow{Values: row})
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = b.Flush()
}

// tells answers what is asked for the role and the lag, and any other statement with
// one row.
func tells(role, lag, other []byte) func(net.Conn, *pgproto3.Backend, string) {
	return func(_ net.Conn, b *pgproto3.Backend, sql string) {
		switch sql {
		case roleQuery:
			rows(b, [][]byte{role})
		case lagQuery:
			rows(b, [][]byte{role, lag})
		default:
			rows(b, [][]byte{other})
		}
	}
}

func columns(s ...string) (row [][]byte) {
	for _, v := range s {
		row = append(row, []byte(v))
	}
	return row
}

func closes(c net.Conn, _ *pgproto3.Backend) bool {
	_ = c.(*net.TCPConn).CloseWrite()
	return false
}

// afterRole is a primary that answers the query in its own way.
func afterRole(answer func(net.Conn, *pgproto3.Backend)) func(net.Conn, *pgproto3.Backend, string) {
	return func(c net.Conn, b *pgproto3.Backend, sql string) {
		if sql == roleQuery {
			rows(b, columns("f"))
		} else {
			answer(c, b)
		}
	}
}

// catchesUp is a replica that was an hour behind when it was asked first.
func catchesUp() func(net.Conn, *pgproto3.Backend, string) {
	var asked atomic.Bool
	return func(_ net.Conn, b *pgproto3.Backend, _ string) {
		if asked.Swap(true) {
			rows(b, columns("t", "0"))
		} else {
			rows(b, columns("t", "3600.5"))
		}
	}
}

// serveSocket is a fake on a unix socket; it returns the socket's directory.
func serveSocket(t testing.TB, f postgresFake) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				f.handle(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	return dir
}
