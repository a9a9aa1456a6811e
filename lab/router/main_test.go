package router

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/anyvip/anyvip/lab/load"
	"github.com/anyvip/anyvip/lab/watch"
)

// The test binary is also the router and the instruments that the tests start in namespaces of their own.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch role := os.Getenv("ROUTER_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "router":
		exit(runRouter(ctx, os.Args[1]))
	case "watch":
		exit(runWatch(ctx, os.Args[1:]))
	case "web":
		exit(runWeb(ctx, os.Args[1]))
	case "load":
		exit(runLoad(ctx, os.Args[1], os.Args[2:]))
	default:
		exit(fmt.Errorf("no role %q", role))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runRouter(ctx context.Context, file string) error {
	c, err := Load(file)
	if err != nil {
		return err
	}
	return New(c, slog.New(slog.NewTextHandler(os.Stderr, nil)), func() { fmt.Println("ready") }).Run(ctx)
}

func runWatch(ctx context.Context, args []string) error {
	var c watch.Config
	for _, a := range args {
		if strings.Contains(a, "/") {
			c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(a))
		} else {
			c.Links = append(c.Links, a)
		}
	}
	return watch.Run(ctx, c, watch.Print(os.Stdout, exit))
}

func runWeb(ctx context.Context, name string) error {
	w, err := load.ListenWeb(ctx, ":80", name)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// runLoad makes so many connections, as fast as is reasonable or at a rate per second.
func runLoad(ctx context.Context, target string, numbers []string) error {
	c := load.Config{Target: target}
	c.Count, _ = strconv.Atoi(numbers[0])
	if len(numbers) > 1 {
		c.Rate, _ = strconv.ParseFloat(numbers[1], 64)
	}
	_, err := load.Run(ctx, c, load.Print(os.Stdout, exit))
	return err
}
