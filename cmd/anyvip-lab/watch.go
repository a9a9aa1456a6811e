package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	labwatch "github.com/anyvip/anyvip/lab/watch"
)

const watchArgs = "[--wire LINK]... [--fib PREFIX,PREFIX...]"

// watch prints what it sees of BGP and of the kernel's routes as JSON lines, until a signal.
func watch(args []string) error {
	var config labwatch.Config
	flags := newFlags("watch", watchArgs)
	flags.Func("wire", "print the BGP messages on `LINK`; may be repeated", func(link string) error {
		config.Links = append(config.Links, link)
		return nil
	})
	flags.Func("fib", "print the routes within these `PREFIXES`, separated by commas", func(list string) error {
		for text := range strings.SplitSeq(list, ",") {
			prefix, err := netip.ParsePrefix(text)
			if err != nil || prefix != prefix.Masked() {
				return fmt.Errorf("%q is no prefix like 192.0.2.0/24", text)
			}
			config.Prefixes = append(config.Prefixes, prefix)
		}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 0 || len(config.Links)+len(config.Prefixes) == 0 {
		flags.Usage()
		return errUsage
	}
	ctx, stop := untilSignal()
	defer stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err := labwatch.Run(ctx, config, labwatch.Print(os.Stdout, fail))
	return errors.Join(err, broken(ctx))
}

// broken is why the output cannot be written; nil when ctx ended for another reason.
func broken(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
