package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
	"github.com/anyvip/anyvip/pkg/status"
)

const (
	stopLimit  = time.Second // for open calls, once the server is asked to end
	maxRequest = 64 << 10    // bytes; requests say a few words
	maxStreams = 16          // calls at a time on one connection
)

// Options are what a Server needs.
type Options struct {
	Socket    string // path, at most 107 bytes
	Snapshots *status.Publisher
	Commander Commander
	Group     string   // whose members may connect; empty: root's
	Operators []string // users that may change something, besides root and the agent's own
	Log       *slog.Logger
}

// Server serves the API on a unix socket.
type Server struct {
	options Options
	socket  *socket // nil unless listening
}

// NewServer makes a server that does nothing until Listen.
func NewServer(o Options) *Server { return &Server{options: o} }

// Listen takes the socket, so that a second agent fails before it touches the
// network. The directory is made if it is missing. A socket that a dead agent
// left behind is taken over; one that is in use, or a file that is no socket,
// is an error. Who calls Listen calls Run or Close.
func (s *Server) Listen() error {
	k, err := listen(s.options.Socket)
	if err == nil {
		if err = giveTo(s.options.Socket, s.options.Group); err != nil {
			err = errors.Join(err, k.remove())
		}
	}
	if err != nil {
		return fmt.Errorf("api: socket %s: %w", s.options.Socket, err)
	}
	s.socket = k
	return nil
}

// Run answers until ctx ends, and then for at most a second more to bring open
// calls to an end. It removes the socket. It is called once, after Listen.
func (s *Server) Run(ctx context.Context) error {
	if s.socket == nil {
		panic("api: Run without Listen")
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest), grpc.MaxConcurrentStreams(maxStreams), grpc.WaitForHandlers(true),
		grpc.Creds(peerCredentials{insecure.NewCredentials()}))
	anyvipv1.RegisterControlServer(g, &control{snapshots: s.options.Snapshots, commander: s.options.Commander, operators: s.options.Operators, serving: ctx})
	s.options.Log.Info("api listens", "socket", s.options.Socket)

	served := make(chan error, 1)
	go func() { served <- g.Serve(s.socket) }()
	var err error
	select {
	case err = <-served:
		g.Stop()
	case <-ctx.Done():
		stop(g)
		err = <-served
	}
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began to serve
		return errors.Join(fmt.Errorf("api: serve %s: %w", s.options.Socket, err), s.Close())
	}
	return s.Close()
}

// stop ends g politely, or by force once stopLimit is over.
func stop(g *grpc.Server) {
	ended := make(chan struct{})
	go func() { defer close(ended); g.GracefulStop() }()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		g.Stop()
		<-ended
	}
}

// Close removes the socket of a Server that listens and is not run. It may be
// called more than once.
func (s *Server) Close() error {
	if s.socket == nil {
		return nil
	}
	err := s.socket.remove()
	s.socket = nil
	if err != nil {
		return fmt.Errorf("api: remove socket %s: %w", s.options.Socket, err)
	}
	return nil
}
