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
		Version: version, Log: log, Exit: func(code int) { queue.Close(); os.Exit(code) }})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Channels of their own: a signal that finds its channel full is lost, and
	// reloads, which take as long as the files do, must not cost a stop.
	reloads, ends := make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(reloads, syscall.SIGHUP)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	// Nobody reads it: asked for, a log reader that went away is a failed write
	// and not the end of the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	defer signal.Reset()
	go obeyReloads(ctx, reloads, a)
	go obeyEnds(ctx, ends, a, cancel)
	return a.Run(ctx)
}

// obeyReloads reads the file again for each signal, until ctx ends.
func obeyReloads(ctx context.Context, signals <-chan os.Signal, a *agent.Agent) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			a.Reload()
		}
	}
}

// obeyEnds asks for a polite stop at the first signal and ends ctx at the second.
func obeyEnds(ctx context.Context, signals <-chan os.Signal, a *agent.Agent, cancel func()) {
	select {
	case <-ctx.Done():
		return
	case sig := <-signals:
		a.Stop(sig.String())
	}
	select {
	case <-ctx.Done():
	case <-signals:
		cancel()
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
