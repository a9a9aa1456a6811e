package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/api"
)

func newDrainCommand() *cobra.Command {
	var node bool
	var reason string
	var lasting time.Duration
	var wait, force bool
	cmd := &cobra.Command{
		Use:   "drain {SERVICE | --node}",
		Short: "Take a service, or all of this node, off the network",
		Long: `Take a service, or all of this node, off the network: first less preferred, so
that new connections go elsewhere, then, once nothing comes in any more or
drain_time is over, withdrawn. The addresses stay on this host.

A drain survives restarts and reboots until it is taken back, or until --for is
over. A second one for the same replaces the first. It says when it is taken, not
when it is done: anyvip status shows the steps.

A virtual router that no other follows stays Active, with priority 1, and says so.
With --force it leaves all the same.

With --wait it goes on until no router has a route any more, and prints each step of
each service (prepare, shift, hold, quiet, done) on a line of its own:
  web: quiet; 3 of 12 connections still receive; withdrawn in 25s at the latest
The exit code is 0 then. It is 1 when the drain was taken back, --for was over, the
agent ended, or it was interrupted: an interrupted drain stays.`,
		Example: `  anyvip drain web --reason "new disks" --for 2h
  anyvip drain --node --reason "kernel update" --wait && reboot`,
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := drainTarget(args, node)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("for") && lasting <= 0 {
				return usageError{fmt.Errorf("--for %s is over before it begins; it must be more than zero", lasting)}
			}
			return withAgent(cmd, answerLimit, func(ctx context.Context, client *api.Client) error {
				reply, err := client.Drain(ctx, api.Drain{Service: service, Force: force, Reason: reason, For: lasting})
				if err != nil {
					return err
				}
				text := "draining " + subject(service)
				if lasting > 0 {
					text += " for " + lasting.String()
				}
				if reply.GetReplaced() {
					text += ", in place of the drain that there was"
				}
				if err := say(cmd, text, reply.GetWarning()); err != nil || !wait {
					return err
				}
				return waitForDrain(cmd.Context(), client, cmd.OutOrStdout(), service)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where no other virtual router takes over: nobody answers then")
	cmd.Flags().BoolVar(&wait, "wait", false, "go on until it is done, and show each step")
	cmd.Flags().BoolVar(&node, "node", false, "all services of this node, also those that are yet to be configured")
	cmd.Flags().StringVarP(&reason, "reason", "r", "", "`WHY`, for whoever looks at status; at most 256 bytes")
	cmd.Flags().DurationVar(&lasting, "for", 0, "end it after this `TIME`, like 2h; default: never")
	return cmd
}

func newUndrainCommand() *cobra.Command {
	var node bool
	cmd := &cobra.Command{
		Use:   "undrain {SERVICE | --node}",
		Short: "Take a drain back",
		Long: `Take a drain back: what is healthy is announced again. --node takes back the drain
of the node; those of single services stay.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := drainTarget(args, node)
			if err != nil {
				return err
			}
			return withAgent(cmd, answerLimit, func(ctx context.Context, client *api.Client) error {
				reply, err := client.Undrain(ctx, service)
				if err != nil {
					return err
				}
				return say(cmd, subject(service)+" is not drained any more", reply.GetWarning())
			})
		},
	}
	cmd.Flags().BoolVar(&node, "node", false, "the drain of this node")
	return cmd
}

// drainTarget is the service, or nothing for the node.
func drainTarget(args []string, node bool) (string, error) {
	switch {
	case len(args) == 1 && !node && args[0] != "":
		return args[0], nil
	case len(args) == 0 && node:
		return "", nil
	}
	return "", usageError{errors.New("say one service, or --node")}
}

func subject(service string) string {
	if service == "" {
		return "this node"
	}
	return "service " + service
}

// say prints what was done, and a warning to standard error.
func say(cmd *cobra.Command, text, warning string) error {
	if warning != "" {
		cmd.PrintErrln("warning: " + warning)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(text))
	return err
}

// withAgent asks the agent, which has so long to answer.
func withAgent(cmd *cobra.Command, limit time.Duration, ask func(ctx context.Context, client *api.Client) error) error {
	client, err := dialAgent(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // all was said
	ctx, cancel := context.WithTimeout(cmd.Context(), limit)
	defer cancel()
	return ask(ctx, client)
}
