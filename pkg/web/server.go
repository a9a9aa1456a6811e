package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/status"
)

// Options are what a Server needs.
type Options struct {
	Listen    string // address and port; empty: no server
	Snapshots *status.Publisher
	Metrics   http.Handler
	Alive     func() error // the alive gate: nil, or who stands still
	Log       *slog.Logger
}

// Server is the HTTP server.
type Server struct {
	options  Options
	listener net.Listener
}

const (
	requestLimit = 10 * time.Second
	stopLimit    = time.Second
)

// NewServer makes a server that does nothing until Listen.
func NewServer(o Options) *Server { return &Server{options: o} }

// Listen opens the port, so that one that is taken is known before anything
// else starts.
func (s *Server) Listen() error {
	if s.options.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.options.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("http.listen %s: another process has this port; end it, or set another address", s.options.Listen)
	}
	if err != nil {
		return fmt.Errorf("http.listen %s: %w", s.options.Listen, err)
	}
	s.listener = l
	return nil
}

// Addr is where the server listens, after Listen; nil where it does not.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Close closes the port of a server that was not Run.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx ends, and a second longer for requests under way.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{
		Handler:           s.handler(),
		ReadTimeout:       requestLimit,
		ReadHeaderTimeout: requestLimit,
		WriteTimeout:      requestLimit,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", s.options.Listen, err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		_ = server.Close() // what is still open is cut off
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.options.Listen, err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.options.Metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /{$}", index)
	return mux
}

// healthz says whether the process should live on: 503 names the part that
// stands still.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { answer(w, s.options.Alive(), "ok") }

// readyz says whether the agent has made its first decisions and is not
// leaving. It does not say that a service is healthy: that is /metrics.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var err error
	switch phase := s.options.Snapshots.Load().Phase; phase {
	case policy.Starting:
		err = errors.New("starting: the first round of checks is not over")
	case policy.Stopping, policy.Stopped:
		err = fmt.Errorf("%s", phase)
	case policy.Running:
		err = s.options.Alive()
	}
	answer(w, err, "ready")
}

func answer(w http.ResponseWriter, err error, good string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		good = err.Error()
	}
	_, _ = fmt.Fprintln(w, good) // a client that left is no news
}

func index(w http.ResponseWriter, _ *http.Request) {
	answer(w, nil, "anyvip\n\n/metrics  Prometheus\n/healthz  503 when a part of the agent stands still\n/readyz   503 until the first round of checks is over, and while stopping")
}
