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
	address string
	request string
	timeout time.Duration
}

// do makes one request on a connection of its own.
func (c client) do(ctx context.Context, number int, due time.Time) Request {
	r := Request{Number: number, Due: due.Round(0), Started: time.Now()}
	ctx, cancel := context.WithDeadline(ctx, r.Started.Add(c.timeout))
	defer cancel()

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
	if err == nil {
		r.Port = localPort(conn)
		r.Server, err = c.ask(ctx, conn)
	}
	ended := time.Now()
	r.Latency = ended.Sub(due) // while both still have a monotonic reading
	r.Started, r.Ended = r.Started.Round(0), ended.Round(0)
	if err != nil {
		r.Server = ""
		r.Failure, r.Detail = classify(err), err.Error()
	}
	return r
}

// ask sends the request and reads the answer to its end. It closes the connection.
func (c client) ask(ctx context.Context, conn net.Conn) (server string, err error) {
	defer conn.Close()
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // close resets: no TIME_WAIT on either side, and the port is free again
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("set deadline: %w", err)
	}
	if _, err := io.WriteString(conn, c.request); err != nil {
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
