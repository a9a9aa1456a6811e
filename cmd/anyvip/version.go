package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and what it was built with",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			gobgp := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, m := range info.Deps {
					if m.Path == "github.com/osrg/gobgp/v4" {
						gobgp = m.Version
					}
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "anyvip %s\ncommit %s\n%s %s/%s, GoBGP %s\n", version, commit,
				runtime.Version(), runtime.GOOS, runtime.GOARCH, gobgp)
			return nil
		},
	}
}
