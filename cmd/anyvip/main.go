// Command anyvip keeps virtual IPs reachable exactly where the service behind
// them works. `anyvip run` is the daemon; every other subcommand is a client of
// it, or works offline.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/config"
)

// version and commit are set by the linker.
var version, commit = "unknown", "unknown"

func main() {
	root := newRootCommand()
	err := root.ExecuteContext(context.Background())
	os.Exit(exitCode(err))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "anyvip",
		Short:         "Keeps virtual IPs reachable exactly where the service behind them works",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringP(config.FlagFile, "c", config.DefaultFile, "configuration `FILE` (ANYVIP_CONFIG)")
	flags.String(config.FlagSocket, config.DefaultSocket, "the agent's API `SOCKET` (ANYVIP_SOCKET)")
	flags.String(config.FlagStateDir, config.DefaultStateDir, "`DIR` for what must survive a crash (ANYVIP_STATE_DIR)")
	flags.String(config.FlagLogLevel, config.DefaultLogLevel, "debug, info, warn or error (ANYVIP_LOG_LEVEL)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRunCommand(), newStatusCommand(), newDrainCommand(), newUndrainCommand(), newCheckCommand(), newHeartbeatCommand(),
		newCheckConfigCommand(), newConfigCommand(), newRenderCommand(), newVersionCommand())
	return root
}

// noArgs refuses arguments as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}
