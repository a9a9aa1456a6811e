package checks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/anyvip/anyvip/pkg/vip"
)

// conn is a connection that ctx governs: when ctx is done, every read and
// write on it, also one under way, ends with a timeout.
//
// Over TCP it is closed by FIN. A reset (SO_LINGER 0) would save the TIME_WAIT, but many
// servers log one as an error, and a client's ports bear it: even at the
// shortest interval one check leaves 6,000 of 28,000 in TIME_WAIT. Where the
// server has sent something that we did not read, the kernel sends a reset by
// itself, which is what stops a server that would send for ever.
type conn struct {
	net.Conn
	release func() bool
}

// dial returns a conn to "host:port" for network tcp and udp, or to the path of a
// socket for unix. Over UDP nothing is sent, and then only what the server itself
// sends is received. Names are resolved by Go's own resolver: the
// one of the C library would leave a blocked thread behind for each probe that
// times out in it.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Resolver: &net.Resolver{PreferGo: true}}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &conn{Conn: c, release: release}, nil
}

// Close closes the connection and lets go of ctx.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// maxWanted is how long the text may be that find looks for.
const maxWanted = 4 << 10

// find reads from r until want has appeared or limit bytes have gone by, and
// says whether it did. The end of r is no error.
func find(r io.Reader, want string, limit int64) (bool, error) {
	r = io.LimitReader(r, limit)
	buf := make([]byte, 2*maxWanted)
	kept := 0 // bytes at the start of buf in which want may have begun
	for {
		n, err := r.Read(buf[kept:])
		seen := buf[:kept+n]
		if bytes.Contains(seen, []byte(want)) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, seen[max(0, len(seen)-len(want)+1):])
	}
}

// validateAddress finds what is wrong with a "host:port".
func validateAddress(path, address string) []vip.Problem {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return []vip.Problem{{Path: path, Value: address, Message: "is no address", Allowed: "HOST:PORT, like 127.0.0.1:5432 or [::1]:5432"}}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return []vip.Problem{{Path: path, Value: address, Message: "has no usable port", Allowed: "1 to 65535"}}
	}
	return nil
}

// validateWanted finds what is wrong with a text that find shall look for.
func validateWanted(path, want string) []vip.Problem {
	if len(want) <= maxWanted {
		return nil
	}
	return []vip.Problem{{Path: path, Message: "is too long: " + strconv.Itoa(len(want)) + " bytes", Allowed: "at most " + strconv.Itoa(maxWanted)}}
}

// validateText finds what no path, name or statement may have.
func validateText(path, text string) []vip.Problem {
	if !strings.ContainsRune(text, 0) {
		return nil
	}
	p := vip.Problem{Path: path, Value: strconv.Quote(text), Message: "has a zero byte"}
	if len(p.Value) > vip.MaxLine {
		p.Value = ""
	}
	return []vip.Problem{p}
}
