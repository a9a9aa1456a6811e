package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	labbench "github.com/anyvip/anyvip/lab/bench"
)

const benchArgs = "[--quick] [--only NAME] [--write FILE [--micro FILE]]"

// bench measures anyvip beside BIRD, ExaBGP, gobgpd and keepalived. The programs that its labs run are this command too.
func bench(args []string) error {
	if ok, err := labbench.Role(args); ok {
		return err
	}
	flags := newFlags("bench", benchArgs)
	quick := flags.Bool("quick", false, "few rounds, and not the largest")
	only := flags.String("only", "", "one measurement: `NAME` is "+strings.Join(labbench.Names(), ", "))
	document := flags.String("write", "", "write the document to `FILE`; with --only: that part of it")
	micro := flags.String("micro", "", "quote the output of `go test -bench` in `FILE` in the document")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() != 0 {
		flags.Usage()
		return errUsage
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	o := labbench.Options{Size: labbench.Full, Only: *only, Binaries: filepath.Dir(binary), Out: os.Stdout, Document: *document}
	if *quick {
		o.Size = labbench.Quick
	}
	if *micro != "" {
		text, err := os.ReadFile(*micro)
		if err != nil {
			return err
		}
		o.Micro = string(text)
	}
	ctx, stop := untilSignal()
	defer stop()
	err = labbench.Run(ctx, o)
	if ctx.Err() != nil {
		return errors.New("interrupted; all labs are taken down")
	}
	return err
}
