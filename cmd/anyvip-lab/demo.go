package main

import (
	"errors"
	"os"
	"path/filepath"

	labdemo "github.com/anyvip/anyvip/lab/demo"
)

const demoArgs = "[FILE]"

// demo tells the story of ECMP while it happens. It succeeds only if all of it was seen.
func demo(args []string) error {
	flags := newFlags("demo", demoArgs)
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	file := "lab/ecmp.clab.yml"
	switch flags.NArg() {
	case 0:
	case 1:
		file = flags.Arg(0)
	default:
		flags.Usage()
		return errUsage
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	err = labdemo.Run(ctx, labdemo.Options{File: file, Binaries: filepath.Dir(binary), Out: os.Stdout, Colour: terminal})
	if errors.Is(err, ctx.Err()) && ctx.Err() != nil {
		return errors.New("interrupted; the lab is taken down")
	}
	return err
}
