package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

// longestProbe is the longest timeout that a check can have, and what comes on top.
const longestProbe = time.Minute + 2*time.Second

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Ask the agent about its checks",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCheckNowCommand())
	return cmd
}

func newCheckNowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "now NAME",
		Short: "Have a check probed at once, and show what that found",
		Long: `Have a check probed at once, and show what that found. The result counts like any
other. The exit code is 0 if the probe passed, and 1 if it did not.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("say one check")}
			}
			return withAgent(cmd, longestProbe, func(ctx context.Context, client *api.Client) error {
				k, err := client.CheckNow(ctx, args[0])
				if err != nil {
					return err
				}
				return printProbe(cmd, k)
			})
		},
	}
}

// printProbe says what the latest probe of a check found, and what is held to be
// true.
func printProbe(cmd *cobra.Command, k *anyvipv1.Check) error {
	r := k.GetLast()
	text := fmt.Sprintf("%s: %s in %s", k.GetName(), word(r.GetOutcome()), latency(r.GetLatency()))
	if r.GetDetail() != "" {
		text += ": " + r.GetDetail()
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\nverdict: %s for %s\n", text, word(k.GetOutcome()), clock{time.Now()}.age(k.GetSince())); err != nil {
		return err
	}
	if r.GetOutcome() != anyvipv1.Outcome_PASS {
		return errors.New("the probe did not pass")
	}
	return nil
}
