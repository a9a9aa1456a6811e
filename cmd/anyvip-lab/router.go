package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	labrouter "github.com/anyvip/anyvip/lab/router"
)

const routerArgs = "-c FILE"

// router is a top-of-rack router in the namespace it is started in.
func router(args []string) error {
	flags := newFlags("router", routerArgs)
	file := flags.String("c", "", "configuration `FILE`, see lab/ecmp/router.yaml")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if *file == "" || flags.NArg() != 0 {
		flags.Usage()
		return errUsage
	}
	config, err := labrouter.Load(*file)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	return labrouter.New(config, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil).Run(ctx)
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. A second one ends the process.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
