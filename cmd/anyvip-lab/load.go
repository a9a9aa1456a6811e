package main

import (
	"context"
	"errors"
	"os"
	"time"

	labload "github.com/anyvip/anyvip/lab/load"
)

const loadArgs = "--target URL (--rate N [--count N] [--duration D] | --spread N)"

// load asks a web service over new connections and prints JSON lines: ready, failed requests, a summary. A signal ends
// it early, with the summary.
func load(args []string) error {
	var config labload.Config
	flags := newFlags("load", loadArgs)
	flags.StringVar(&config.Target, "target", "", "http `URL` with an address: http://192.0.2.10/")
	flags.Float64Var(&config.Rate, "rate", 0, "new connections per second, whatever becomes of the earlier ones")
	flags.IntVar(&config.Count, "count", 0, "end after `N` requests")
	flags.DurationVar(&config.Duration, "duration", 0, "end after this time")
	flags.DurationVar(&config.Timeout, "timeout", time.Second, "of one request, from connect to the end of the answer")
	flags.BoolVar(&config.Each, "each", false, "print every request, not only failed ones")
	spread := flags.Int("spread", 0, "make `N` connections as fast as is reasonable")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 0 || config.Target == "" || (config.Rate > 0) == (*spread > 0) {
		flags.Usage()
		return errUsage
	}
	if *spread > 0 {
		config.Count = *spread
	}
	ctx, stop := untilSignal()
	defer stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	_, err := labload.Run(ctx, config, labload.Print(os.Stdout, fail))
	return errors.Join(err, broken(ctx))
}
