package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// maxStatus is the largest Status that a client takes, in bytes: tens of
// thousands of VIPs.
const maxStatus = 64 << 20

// Client asks one agent. It is safe for concurrent use.
type Client struct {
	socket  string
	conn    *grpc.ClientConn
	control anyvipv1.ControlClient
}

// Dial connects to the agent at socket. Its errors tell an operator why nobody
// answers and what to do.
func Dial(socket string) (*Client, error) {
	// gRPC connects when it likes, and hides why it cannot: look first.
	first, err := net.DialTimeout("unix", socket, connectLimit)
	if err != nil {
		return nil, noAgent(socket, err)
	}
	first.Close()
	conn, err := grpc.NewClient("passthrough:///anyvip",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxStatus)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	return &Client{socket: socket, conn: conn, control: anyvipv1.NewControlClient(conn)}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// Status asks once. It blocks until the agent answers or ctx ends.
func (c *Client) Status(ctx context.Context) (*anyvipv1.Status, error) {
	s, err := c.control.GetStatus(ctx, &anyvipv1.GetStatusRequest{})
	if err != nil {
		return nil, c.explain(err)
	}
	return s, nil
}

// Watch yields the current Status at once and each later one as it comes, until
// ctx ends, which is no error, or the agent does. The loop may be left at will.
func (c *Client) Watch(ctx context.Context) iter.Seq2[*anyvipv1.Status, error] {
	return func(yield func(*anyvipv1.Status, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.control.WatchStatus(ctx, &anyvipv1.WatchStatusRequest{})
		for err == nil {
			var s *anyvipv1.Status
			if s, err = stream.Recv(); err == nil && !yield(s, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) && grpcstatus.Code(err) != codes.Canceled {
			yield(nil, c.explain(err))
		}
	}
}

// CheckNow has a check probed and returns it with what that found. It blocks until
// then, or until ctx ends.
func (c *Client) CheckNow(ctx context.Context, check string) (*anyvipv1.Check, error) {
	r, err := c.control.CheckNow(ctx, &anyvipv1.CheckNowRequest{Check: check})
	if err != nil {
		return nil, c.explain(err)
	}
	return r.GetCheck(), nil
}

// Drain takes a service, or the node, off the network. It blocks until the agent has
// taken the wish.
func (c *Client) Drain(ctx context.Context, d Drain) (*anyvipv1.DrainResponse, error) {
	r := &anyvipv1.DrainRequest{Service: d.Service, Node: d.Service == "", Reason: d.Reason, Force: d.Force}
	if d.For != 0 {
		r.Duration = durationpb.New(d.For)
	}
	out, err := c.control.Drain(ctx, r)
	if err != nil {
		return nil, c.explain(err)
	}
	return out, nil
}

// Undrain takes a drain back. It blocks until the agent has taken the wish.
func (c *Client) Undrain(ctx context.Context, service string) (*anyvipv1.UndrainResponse, error) {
	out, err := c.control.Undrain(ctx, &anyvipv1.UndrainRequest{Service: service, Node: service == ""})
	if err != nil {
		return nil, c.explain(err)
	}
	return out, nil
}

// Heartbeat reports to a check of kind heartbeat how the application is. It blocks
// until the agent has taken the report.
func (c *Client) Heartbeat(ctx context.Context, check string, o anyvipv1.Outcome_Enum, detail string) error {
	if _, err := c.control.Heartbeat(ctx, &anyvipv1.HeartbeatRequest{Check: check, Outcome: o, Detail: detail}); err != nil {
		return c.explain(err)
	}
	return nil
}

// explain says what an error of a call means for an operator.
func (c *Client) explain(err error) error {
	switch grpcstatus.Code(err) { //nolint:exhaustive // the rest says enough by itself
	case codes.Unavailable:
		return fmt.Errorf("the agent at %s has ended", c.socket)
	case codes.DeadlineExceeded:
		return fmt.Errorf("the agent at %s does not answer: it is stopped or stuck; look at its log", c.socket)
	case codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied, codes.ResourceExhausted:
		return errors.New(grpcstatus.Convert(err).Message())
	case codes.Unimplemented:
		return fmt.Errorf("the agent at %s does not know this call: it is older than this program", c.socket)
	}
	return fmt.Errorf("ask the agent at %s: %w", c.socket, err)
}

// noAgent says why the socket cannot be connected to.
func noAgent(socket string, err error) error {
	info, serr := os.Stat(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no agent at %s: there is no such socket; start anyvip, or say with --socket where it listens", socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied on %s: %s", socket, whoMay(info, serr))
	case serr == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is no socket; say with --socket where the agent listens", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no agent at %s: the one that made this socket is dead; start anyvip, which takes it over", socket)
	}
	return fmt.Errorf("connect to %s: %w", socket, err)
}

// whoMay says who is let in by the mode of the socket.
func whoMay(info fs.FileInfo, err error) string {
	if err != nil {
		return "its directory is closed to you; run this as root"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Gid == 0 {
		return "only root may ask; run this as root"
	}
	group := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf("root and members of group %s may ask; run this as root, or join the group: usermod -aG %s USER", group, group)
}
