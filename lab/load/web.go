package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

// Web is a web server that answers every path with its name and 200, and "NAME via GATEWAY" to what a gateway sent on.
// It logs nothing.
type Web struct {
	listener net.Listener
	server   *http.Server
}

// ListenWeb opens the port. SO_REUSEADDR is set, so that a server can take its predecessor's place at once.
func ListenWeb(ctx context.Context, address, name string) (*Web, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // Go's default; nobody else's web server has it, and its sockets look different from outside
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("web server %s: %w", name, err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, name+via(r.Header)+"\n") // the client is gone: its business
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	server.SetKeepAlivesEnabled(false) // a connection is a request
	return &Web{listener: l, server: server}, nil
}

// via names the gateway that a request came to first (RFC 9110, section 7.6.3).
func via(h http.Header) string {
	first, _, _ := strings.Cut(h.Get("Via"), ",")
	if fields := strings.Fields(first); len(fields) > 1 { // the protocol, and by whom it was received
		return " via " + fields[1]
	}
	return ""
}

// Addr is where the server listens.
func (w *Web) Addr() net.Addr { return w.listener.Addr() }

// Run serves until ctx ends, then closes every connection at once and returns nil.
func (w *Web) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.server.Close() })
	defer stop()
	defer func() { _ = w.listener.Close() }() // where ctx ended before Serve began
	err := w.server.Serve(w.listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
