package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/api"
	anyvipv1 "github.com/anyvip/anyvip/pkg/api/anyvip/v1"
)

func newHeartbeatCommand() *cobra.Command {
	var degraded, failed bool
	var detail string
	cmd := &cobra.Command{
		Use:   "heartbeat CHECK",
		Short: "Report to a check of kind heartbeat how the application is",
		Long: `Report to a check of kind heartbeat how the application is. Silence for longer than
the check's ttl fails.`,
		Example: `  anyvip heartbeat queue
  anyvip heartbeat queue --degraded --detail "12000 messages wait"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := anyvipv1.Outcome_PASS
			switch {
			case len(args) != 1:
				return usageError{errors.New("say one check")}
			case degraded && failed:
				return usageError{errors.New("say --degraded or --fail, not both")}
			case degraded:
				o = anyvipv1.Outcome_DEGRADED
			case failed:
				o = anyvipv1.Outcome_FAIL
			}
			return withAgent(cmd, answerLimit, func(ctx context.Context, client *api.Client) error {
				return client.Heartbeat(ctx, args[0], o, detail)
			})
		},
	}
	cmd.Flags().BoolVar(&degraded, "degraded", false, "it works, but worse than it should")
	cmd.Flags().BoolVar(&failed, "fail", false, "it does not work")
	cmd.Flags().StringVar(&detail, "detail", "", "one `LINE`, for whoever looks at status")
	return cmd
}
