package bench

import (
	"bufio"
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// switchService is a web service that can be told to answer 503: a line "down" or "up" in a named pipe. It begins
// down, and serves until ctx ends.
func switchService(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:80", "`ADDRESS` to listen on")
	pipe := flags.String("pipe", "", "`FILE` to read the lines from, a named pipe")
	if err := flags.Parse(args); err != nil {
		return err
	}
	lines, err := os.OpenFile(*pipe, os.O_RDWR, 0) // for writing too: so it never ends
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		_ = lines.Close()
		return err
	}
	var up atomic.Bool
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scan := bufio.NewScanner(lines); scan.Scan(); {
			up.Store(scan.Text() == "up")
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err = server.Serve(l)
	_ = lines.Close()
	<-read
	if ctx.Err() != nil {
		return nil
	}
	return err
}
