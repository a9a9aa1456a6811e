package watch

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// The test binary is also the watcher that the tests start in namespaces of their own.
func TestMain(m *testing.M) {
	if os.Getenv("WATCH_TEST_ROLE") != "watch" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c Config
	for _, a := range os.Args[1:] {
		if strings.Contains(a, "/") {
			c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(a))
		} else {
			c.Links = append(c.Links, a)
		}
	}
	exit(Run(ctx, c, Print(os.Stdout, exit)))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
