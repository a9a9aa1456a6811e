package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/agent"
	"github.com/anyvip/anyvip/pkg/config"
)

func newRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the agent in the foreground",
		Long: `Run the agent in the foreground until SIGTERM or SIGINT, which withdraws the
VIPs, waits until that was sent, closes the sessions and removes the addresses.
A second signal ends it at once. SIGHUP reads the file again.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := config.ReadSettings(cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			return run(cmd.Context(), s)
		},
	}
}

func run(ctx context.Context, s config.Settings) error {
	queue := agent.NewLogQueue(os.Stderr)
	queue.Start()
	defer queue.Close()
	log := slog.New(logHandler(queue, s.Level))

	host, err := os.Hostname()
	if err != nil {
		return err
	}
	load := func() (*config.Config, error) {
		c, warnings, err := config.Load(s.File.Value, host)
		for _, w := range warnings {
			log.Warn("configuration", "warning", w.String())
		}
		return c, err
	}
	c, err := load()
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{Config: c, Load: load, Socket: s.SocketOf(c).Value, StateDir: s.StateDir.Value,
		Version: version, Log: log, Exit: os.Exit})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	go obey(ctx, signals, a, cancel)
	return a.Run(ctx)
}

// obey turns signals into what the agent should do, until ctx ends.
func obey(ctx context.Context, signals <-chan os.Signal, a *agent.Agent, cancel func()) {
	stopping := false
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				a.Reload()
			case stopping:
				cancel()
			default:
				stopping = true
				a.Stop(sig.String())
			}
		}
	}
}

// logHandler writes text for people at a terminal and JSON for everyone else.
func logHandler(w *agent.LogQueue, level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}
