package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/config"
)

func newCheckConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Check a configuration file, and say everything that is wrong with it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := config.ReadSettings(cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			return checkConfig(cmd.OutOrStdout(), s.File.Value)
		},
	}
}

// checkConfig prints one line for a good file. The error of a bad one holds
// every problem, a line each.
func checkConfig(w io.Writer, file string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	c, warnings, err := config.Load(file, host)
	for _, p := range warnings {
		fmt.Fprintf(w, "%s:%s (warning)\n", file, p)
	}
	if err != nil {
		return counted(err)
	}
	fmt.Fprintf(w, "%s: ok: node %s, %s, %s, %s\n", file, c.Node,
		count(len(c.Services), "service"), count(len(c.Checks), "check"), count(len(c.BGP.Peers), "peer"))
	return nil
}

// counted says first how many problems a file has.
func counted(err error) error {
	var invalid *config.Invalid
	if errors.As(err, &invalid) {
		return fmt.Errorf("%s\n%w", count(len(invalid.Problems), "problem"), err)
	}
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
