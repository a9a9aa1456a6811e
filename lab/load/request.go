package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// client makes single requests.
type client struct {
	ask     func(context.Context) (server string, port uint16, err error)
	timeout time.Duration
}

// newClient checks the configuration, and makes what it asks for.
func newClient(c *Config) (client, error) {
	if err := c.check(); err != nil {
		return client{}, err
	}
	if c.Ask != nil {
		ask := func(ctx context.Context) (string, uint16, error) {
			server, err := c.Ask(ctx)
			return server, 0, err
		}
		return client{ask, c.Timeout}, nil
	}
	address, request, err := c.http()
	if err != nil {
		return client{}, err
	}
	return client{get{address, request}.ask, c.Timeout}, nil
}

// do makes one request on a connection of its own.
func (c client) do(ctx context.Context, number int, due time.Time) Request {
	r := Request{Number: number, Due: due.Round(0), Started: time.Now()}
	ctx, cancel := context.WithDeadline(ctx, r.Started.Add(c.timeout))
	defer cancel()

	server, port, err := c.ask(ctx)
	r.Server, r.Port = server, port
	ended := time.Now()
	r.Latency = ended.Sub(due) // while both still have a monotonic reading
	r.Started, r.Ended = r.Started.Round(0), ended.Round(0)
	if err != nil {
		r.Server = ""
		r.Failure, r.Detail = classify(err), err.Error()
	}
	return r
}

// get asks a web server.
type get struct{ address, request string }

// ask makes one request on a connection of its own.
func (g get) ask(ctx context.Context) (server string, port uint16, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.address)
	if err != nil {
		return "", 0, err
	}
	server, err = g.askOn(ctx, conn)
	return server, localPort(conn), err
}

// askOn sends the request and reads the answer to its end. It closes the connection.
func (g get) askOn(ctx context.Context, conn net.Conn) (server string, err error) {
	defer conn.Close()
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // close resets: no TIME_WAIT on either side, and the port is free again
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("set deadline: %w", err)
	}
	if _, err := io.WriteString(conn, g.request); err != nil {
		return "", fmt.Errorf("send request: %w", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), nil)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", statusError(answer.Status)
	}
	return strings.TrimSpace(string(body)), nil
}

type statusError string

func (s statusError) Error() string { return "answer " + string(s) }

func classify(err error) Failure {
	var status statusError
	switch {
	case errors.As(err, &status):
		return Status
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE),
		errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return Local
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Reset
	default:
		return Other
	}
}

func localPort(conn net.Conn) uint16 {
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return 0
	}
	return at.Port()
}
