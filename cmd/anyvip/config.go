package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "About the configuration file", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "reference",
		Short: "Print every key with its default and its meaning, as a file that loads",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), config.Reference())
			return err
		},
	})
	return cmd
}
